"""Explains every error that a user can meet: what happened, the likely cause, the remedy, and whether a retry may help or cost.

State files store a failure as a code (a key of `PROBLEMS`, or an error code of the service) and an optional detail. The texts
are looked up when they are shown, so that old failures get the words of the newest version. Failing code raises
`ProblemError(code, detail)`.

Causes and remedies of the service's errors follow the vendor's dubbing guide (troubleshooting table) and API reference
(2026-09).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from synthdub_tui.text import make_printable


class RetryAdvice(StrEnum):
    """Whether a retry may help, and what it may cost."""

    FREE = "free"  # may help, costs nothing
    COSTS = "costs"  # may help, spends credits
    ASK = "ask"  # may pay twice or for nothing, or endangers the account: only if the user decides for this very dub
    USELESS = "useless"  # cannot help before the remedy is applied; costs nothing


class Problem(NamedTuple):
    """An explained error, ready to be shown. `detail` may contain untrusted text: pass it through `make_printable`."""

    code: str
    title: str
    cause: str
    remedy: str
    retry: RetryAdvice
    detail: str = ""

    def one_line(self) -> str:
        """The whole problem in one line of plain text."""
        said = f" ({make_printable(self.detail)})" if self.detail else ""
        return " ".join(filter(None, (f"{self.title}{said}.", self.cause, self.remedy)))


def explain(code: str, detail: str = "") -> Problem:
    """The problem of a stored code; a general one for a code of the service that this version does not know."""
    known = PROBLEMS.get(code)
    if known is not None:
        return known._replace(detail=detail)
    return Problem(
        code,
        f"The service reported “{make_printable(code)}”",
        "This version of synthdub does not know that code.",
        "Look it up in the service's documentation, then retry; a retry spends credits again.",
        RetryAdvice.COSTS,
        detail,
    )


_COST_OF_DUB: Final = (
    "That is free where the service has the dub already; one that was not submitted yet is then sent, "
    "and costs credits like any."
)
"""Cost of a retry after a problem that a dub can meet both before and after it is paid for."""

_COST_OF_FIRST: Final = "This try cost nothing; once the dub is submitted, it costs credits like any."
"""Cost of a retry after a problem that only an unsubmitted dub can meet."""


def _table(*problems: Problem) -> dict[str, Problem]:
    return {problem.code: problem for problem in problems}


PROBLEMS: dict[str, Problem] = _table(
    # -- key and service ---------------------------------------------------------------------------------------------
    Problem(
        "no_key",
        "No API key",
        "synthdub found no key in the environment, a key file or the configuration.",
        "Make a key of the “Legacy (v2)” scope in Synthesia Studio (a paid plan is needed), then set SYNTHESIA_API_KEY.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "key_rejected",
        "The service does not accept the API key",
        "The key is missing a character, was revoked, is not of the “Legacy (v2)” scope, or the plan has no API access.",
        "Check the key in Synthesia Studio, set SYNTHESIA_API_KEY again and restart. Nothing is lost.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "account_refused",
        "The account cannot start dubs at the moment",
        "Its credits may not cover the first file in line, or its plan has no dubbing; the service's words tell which.",
        "All others wait, smaller files too; nothing was billed. "
        "Mend it in Synthesia Studio or cancel that file, then resume or run again.",
        RetryAdvice.FREE,
    ),
    Problem(
        "service_unreachable",
        "The service cannot be reached",
        "The network is down, a proxy or firewall is in the way, or the API address is wrong.",
        "synthdub keeps trying by itself. Check the connection and the address with `synthdub doctor`.",
        RetryAdvice.FREE,
    ),
    Problem(
        "service_down",
        "The service has trouble at the moment",
        "It answered with a server error, or with something that is not its API.",
        "synthdub keeps trying reads by itself; retry what failed later.",
        RetryAdvice.FREE,
    ),
    Problem(
        "service_answer",
        "The service's answer could not be understood",
        "It misses something that the API reference promises; a proxy may be in between, or the API has changed.",
        "Check the API address; if it is right, look for a newer synthdub.",
        RetryAdvice.FREE,
    ),
    Problem(
        "paused",
        "The batch is paused",
        "Somebody paused it, or its file was damaged; a new run does not end a pause.",
        "`synthdub resume`, or `synthdub run --resume`, goes on. Until then nothing new is sent or billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "rate_limited",
        "The account's rate limit is used up",
        "Too many calls within a minute, an hour or a day; other programs with the same key count too.",
        "synthdub waits as long as the service says and goes on by itself. Set --tier to your plan.",
        RetryAdvice.FREE,
    ),
    Problem(
        "request_refused",
        "The service refused the request",
        "It found something wrong with it; its words are given.",
        "Correct what the words name, then retry. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "submission_unknown",
        "It is unknown whether the service accepted the dub",
        "The connection broke, synthdub was killed, or something other than the service's API answered the paid request.",
        "Look in Synthesia Studio whether the dub is there: `synthdub adopt FILE:LANG PROJECT` then takes it up for free. "
        "Retrying sends it again and may be billed twice.",
        RetryAdvice.ASK,
    ),
    Problem(
        "cancelled_late",
        "The service had accepted it",
        "It was cancelled after that, goes on there, and cannot be called back.",
        "It may be billed. A retry fetches it, free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "cancelled_under_way",
        "Its request was under way when it was cancelled",
        "The service may accept it all the same, and it cannot be called back.",
        "It may be billed: `synthdub status` tells once the answer is there. If it was accepted, a retry fetches it, free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "project_not_found",
        "The service does not know the dubbing project",
        "It was deleted in Studio, or belongs to another account than this key's.",
        "Check the key, then retry: it looks again for free. If the project is gone, the next retry makes a new one and costs.",
        RetryAdvice.COSTS,
    ),
    Problem(
        "asset_not_found",
        "The service does not know the uploaded video",
        "It was deleted, or belongs to another account than this key's.",
        "Retry: the file is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "missing_in_project",
        "The project is complete, but this language is not in it",
        "The service dropped the language without saying why.",
        "Retry asks for it again; credits are spent if it is dubbed.",
        RetryAdvice.COSTS,
    ),
    Problem(
        "language_refused",
        "The service did not accept this language for the video",
        "It named the language in its answer; its words are given.",
        "Choose another locale of the language (`synthdub languages`). Nothing was billed for it.",
        RetryAdvice.FREE,
    ),
    # -- the service's own codes -------------------------------------------------------------------------------------
    Problem(
        "moderation",
        "Refused by content moderation",
        "The service found content that its rules do not allow in this video.",
        "Do not send it again unchanged: repeated rejections can get the account banned. Edit the video, or ask support.",
        RetryAdvice.ASK,
    ),
    Problem(
        "left_refused",
        "Left as it is: refused by moderation",
        "The service refused this very content before, in these languages or as a whole.",
        "Nothing was sent for it. Edit the video and name it again, or ask support. `synthdub retry FILE:LANG` sends it all "
        "the same, after a question: it may cost credits, and repeated rejections can get the account banned.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "already_paid",
        "This video was dubbed into this language before",
        "A receipt on this machine says that the same content was sent and accepted, or may have been. Its project cannot be "
        "found at the service, and its file is not here.",
        "Nothing was sent. Look for it in Synthesia Studio, or where the other batch saved it. A retry sends it again and "
        "costs credits again; `synthdub cancel FILE:LANG` leaves it.",
        RetryAdvice.ASK,
    ),
    Problem(
        "claimed",
        "Another batch is dubbing this video into this language",
        "A note beside the outputs says who began it and when.",
        "Nothing was sent. Let them finish: the output appears in the same folder and costs you nothing; the next start looks "
        "again. A retry dubs it all the same: that costs credits, and only one of the two outputs can have the name.",
        RetryAdvice.ASK,
    ),
    Problem(
        "video_duration_limit_reached",
        "The video is longer than the account allows",
        "Plans have a longest video and a budget of minutes.",
        "Cut the video into shorter ones, or change the plan, then retry.",
        RetryAdvice.COSTS,
    ),
    Problem(
        "invalid_target_language",
        "The service cannot dub into this language",
        "The code is not one of its output languages for this video.",
        "Choose another locale of the language (`synthdub languages`).",
        RetryAdvice.COSTS,
    ),
    Problem(
        "processing_error",
        "The service failed while dubbing",
        "A fault on its side, or speech that it could not work with.",
        "Retry this language; credits are spent again if the service bills failures (it does not say).",
        RetryAdvice.COSTS,
    ),
    Problem(
        "status_unknown",
        "The service says something of this dub that synthdub does not know",
        "Its words are given; a review by hand may take more than a day, or the API has changed.",
        "synthdub goes on asking for 48 hours. Look in Synthesia Studio; a retry asks again, for free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "cancelled_by_service",
        "The dub was cancelled at the service",
        "Somebody cancelled it in Synthesia Studio, or the service did.",
        "Retry this language; credits are spent again if the service bills cancelled dubs (it does not say).",
        RetryAdvice.COSTS,
    ),
    # -- asset and upload --------------------------------------------------------------------------------------------
    Problem(
        "media_type",
        "The service does not take this kind of video",
        "It takes video/mp4, video/webm and video/quicktime only (415 Unsupported Media Type).",
        "Convert the file to mp4, webm or mov, for instance with ffmpeg, and add the result.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "asset_upload",
        "The service could not use the uploaded file",
        "The upload arrived damaged, or the file is not a playable video.",
        "Check that the file plays, then retry: it is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "language_detect",
        "The service could not detect the source language",
        "There is too little speech, or several languages.",
        "Add the file again with --source-language CODE instead of auto.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "language_unknown",
        "The service did not say which language the video speaks",
        "--source-language auto takes what it detects, and it detected none, or one that it cannot dub from.",
        "Add the file again with --source-language CODE.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "asset_unknown_error",
        "The service failed to read the uploaded file",
        "It gave no reason.",
        "Retry: the file is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "asset_not_uploaded",
        "The service does not see the uploaded file",
        "The upload ended well on this side, but the service goes on waiting for it.",
        "Retry: the file is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "BrokenAssetUrlError",
        "The service could not read the uploaded file",
        "The upload did not arrive whole, or was removed at the service.",
        "Retry: the file is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "credentials_expired",
        "The upload credentials expired",
        "They are short-lived; the upload took longer (S3 says ExpiredToken).",
        "synthdub makes a new asset and uploads again by itself; if that fails too, use a faster line or fewer --max-uploads.",
        RetryAdvice.FREE,
    ),
    Problem(
        "storage_trouble",
        "The storage of the videos has trouble at the moment",
        "Uploads or downloads break again and again: the line, a firewall, or the storage itself.",
        "synthdub keeps trying by itself for some minutes; what it then gives up can be retried for free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "upload_region",
        "The storage expects another region",
        "The temporary bucket is in eu-west-1; an S3 endpoint override points elsewhere (AuthorizationHeaderMalformed).",
        "Remove --s3-endpoint-url / SYNTHDUB_S3_ENDPOINT_URL, unless you test against a server of your own.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "upload_denied",
        "The storage refused the upload",
        "The temporary credentials do not allow it; a proxy may have changed the request, or the clock is wrong.",
        "Check the machine's clock, then retry: a new asset is made. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "upload_failed",
        "The upload failed",
        "The connection to the storage broke repeatedly.",
        "Check the connection, then retry: the file is uploaded again. Nothing was billed.",
        RetryAdvice.FREE,
    ),
    Problem(
        "source_missing",
        "The source file is gone",
        "It was moved, renamed or deleted, or its disk is not mounted.",
        "Put it back under the same path and retry, or add it from its new place. " + _COST_OF_FIRST,
        RetryAdvice.USELESS,
    ),
    Problem(
        "source_unreadable",
        "The source file cannot be read",
        "Its permissions or its disk do not allow it.",
        "Make it readable for your user, then retry. " + _COST_OF_FIRST,
        RetryAdvice.USELESS,
    ),
    Problem(
        "source_changed",
        "The source file changed while it was being uploaded",
        "Another program is still writing it.",
        "Wait until the file is finished, then retry: it is uploaded anew. " + _COST_OF_FIRST,
        RetryAdvice.FREE,
    ),
    Problem(
        "source_unsettled",
        "The file is still being written",
        "A program has it open for writing, or it changed a moment ago: it would be dubbed half finished.",
        "Run the same command when it is complete. " + _COST_OF_FIRST,
        RetryAdvice.FREE,
    ),
    Problem(
        "source_touched",
        "The file has another time, and nothing tells whether its content changed",
        "No digest was kept of what was dubbed; a copy or a restored backup changes times, too. It stays as it is.",
        "If it is the same video: `synthdub relocate FILE FILE`, which is free. "
        "If it changed: `synthdub run --yes FILE` dubs it again, and spends credits for each language.",
        RetryAdvice.ASK,
    ),
    Problem(
        "source_maybe_moved",
        "The file may be one that was dubbed at another place",
        "A video of this size, and of this name or time, is gone from its place, and no digest tells whether it is the same. "
        "Nothing was added.",
        "If it is the same video: `synthdub relocate OLD NEW`, which is free. If it is another one: `synthdub run --yes FILE`, "
        "which spends credits for each language.",
        RetryAdvice.ASK,
    ),
    Problem(
        "source_changing",
        "The file changes while it is compared",
        "Another program is still writing it, so it is not known whether it is the video that was dubbed. Nothing was spent.",
        "Wait until the file is finished, then add it again.",
        RetryAdvice.FREE,
    ),
    Problem(
        "source_other_size",
        "The file at the new place has another size",
        "It is another video, or its copy is not finished. It stays in the batch at its old place.",
        "Finish the copy and say `synthdub relocate` again; or add it as a new video, which spends credits.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "place_taken",
        "The new place has a job already",
        "The file there was added as a video of its own. The one from the old place stays as it is.",
        "Remove one of the two with `synthdub remove`, then say `synthdub relocate` again.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "source_empty",
        "The file is empty",
        "It has no bytes; a copy or an export did not finish.",
        "Export or copy it again.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "not_a_video",
        "The file is not a video",
        "A placeholder, an error page or another kind of file stands under the video's name. Nothing was sent or billed.",
        "Put the video in its place, then retry or run again.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "no_audio",
        "The video has no sound track",
        "Dubbing needs speech, and there is none. Nothing was sent or billed.",
        "Add the sound and run again; or send it as it is with `synthdub retry FILE:LANG`, which costs credits like any dub.",
        RetryAdvice.ASK,
    ),
    Problem(
        "header_unreadable",
        "The file's header cannot be read",
        "It is damaged, incomplete, or of a kind that synthdub does not know; the service may know better.",
        "The file is sent all the same, and its dubs cost credits. If it does not play, cancel them, or mend and retry it.",
        RetryAdvice.FREE,
    ),
    # -- download and disk -------------------------------------------------------------------------------------------
    Problem(
        "download_failed",
        "The finished video could not be downloaded",
        "The connection broke again and again, or the storage refused a fresh address.",
        "Check the connection, then retry: downloading again is free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "download_endless",
        "Nothing tells where the downloaded file ends",
        "The storage, or a proxy in between, gives neither its length nor its end: one that was cut off would look complete.",
        "Nothing was saved. Look for a proxy that changes answers, then retry, which is free; or download it in Studio.",
        RetryAdvice.FREE,
    ),
    Problem(
        "download_address",
        "The download address is not one that synthdub follows",
        "The service named an address that is not http(s), or one inside this machine or network.",
        "Nothing was fetched. Check the API address; if it is right, tell the service's support.",
        RetryAdvice.FREE,
    ),
    Problem(
        "captions_failed",
        "The captions could not be downloaded",
        "The video is complete and saved; its srt or vtt address did not answer well.",
        "The next runs try again by themselves, some times. `synthdub retry FILE:LANG` fetches only the captions, free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "output_exists",
        "A file of that name is already there",
        "synthdub did not make it for this job, so it is never overwritten.",
        "Move or rename that file, or use --output-dir, then retry. " + _COST_OF_DUB,
        RetryAdvice.FREE,
    ),
    Problem(
        "output_claimed",
        "Another job writes to the same output file",
        "Two sources differ only in their ending or in case, or one source was added with other options.",
        "Add one of them again with --output-dir: that is a first submission, which costs credits like any. Nothing was sent "
        "for this one.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "output_unwritable",
        "The output folder cannot be written",
        "Its permissions or its file system do not allow it.",
        "Make it writable for your user, or use --output-dir, then retry. " + _COST_OF_DUB,
        RetryAdvice.FREE,
    ),
    Problem(
        "output_unmounted",
        "The volume of the outputs is not mounted",
        "What is written to the place where it was would be hidden as soon as it is mounted again.",
        "Mount it there, then retry; or add the video again with another --output-dir. " + _COST_OF_DUB,
        RetryAdvice.FREE,
    ),
    Problem(
        "disk_full",
        "The disk is full",
        "There is no room for the output, or your quota is used up.",
        "Make room, then retry: what was fetched so far is kept. " + _COST_OF_DUB,
        RetryAdvice.FREE,
    ),
    # -- start and configuration -------------------------------------------------------------------------------------
    Problem("usage", "The command cannot be understood", "", "See `synthdub --help`.", RetryAdvice.USELESS),
    Problem(
        "unknown_language",
        "Unknown language code",
        "",
        "`synthdub languages` lists all codes.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "no_targets",
        "No target languages",
        "synthdub does not guess what to dub into.",
        "Name them with --targets, for instance --targets fr-FR,es-ES.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "name_invalid",
        "The file's name is not valid UTF-8",
        "It was made on a system with another encoding.",
        "Rename the file, for instance with convmv.",
        RetryAdvice.USELESS,
    ),
    Problem("path_missing", "There is no such file or folder", "", "Check the path.", RetryAdvice.USELESS),
    Problem(
        "path_unreadable",
        "The folder cannot be read",
        "Its permissions do not allow it.",
        "Make it readable for your user.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "nothing_found",
        "No videos found",
        "synthdub takes .mp4, .webm, .mov and .qt files, and leaves out its own outputs.",
        "Check the folder, and --recursive / --no-recursive.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "nothing_to_do",
        "Nothing to do",
        "The state directory holds no jobs, and no path was named.",
        "Name files or folders: synthdub run PATH --targets fr-FR,es-ES",
        RetryAdvice.USELESS,
    ),
    Problem(
        "unsupported_file",
        "Not a video that the service takes",
        "It takes .mp4, .webm, .mov and .qt files.",
        "Convert it, for instance with ffmpeg.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "own_output",
        "This file is an output of synthdub",
        "Files named NAME.dubbed-LANGUAGE.mp4 are never taken as inputs.",
        "Name the original, or rename the file if it really is a source.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "output_copy",
        "This file is a copy of an output of synthdub",
        "Files with .dubbed-LANGUAGE in their name are never taken as inputs.",
        "Name the original, or rename the file if it really is a source.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "title_too_long",
        "The title is too long",
        "The service takes at most 256 characters; the title is the prefix, “ - ” and the file's name.",
        "Shorten --title or the file's name.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "locale_unusable",
        "File names cannot be read as UTF-8",
        "The locale has another encoding, in which the same file would be another one, and Python did not start in UTF-8 mode.",
        "Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8. Nothing was sent.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "config_invalid",
        "The configuration cannot be read",
        "",
        "Correct that line, or remove the file to use the defaults.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "setting_invalid",
        "A setting has a wrong value",
        "",
        "Correct it; `synthdub --help` names the values.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "url_invalid",
        "Not an address that synthdub can use",
        "It takes https://HOST, or http://127.0.0.1:PORT for tests.",
        "Correct --api-url / SYNTHDUB_API_URL or --s3-endpoint-url / SYNTHDUB_S3_ENDPOINT_URL.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "state_unwritable",
        "The state directory cannot be used",
        "Its permissions, its disk or its file system do not allow writing.",
        "Choose another with --state-dir, or make it writable. Nothing was sent.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "name_too_long",
        "The name of the output would be too long",
        "The file system takes names of some length only, mostly 255 bytes, and the output's adds language and ending.",
        "Rename the video to something shorter and add it anew, or use --output-dir on another file system. " + _COST_OF_FIRST,
        RetryAdvice.FREE,
    ),
    Problem(
        "name_refused",
        "The file system does not take the name of the output",
        'FAT, exFAT and Windows shares refuse : ? * < > | " and \\ in names.',
        "Rename the video and add it anew, or use --output-dir on another file system. " + _COST_OF_FIRST,
        RetryAdvice.FREE,
    ),
    Problem(
        "not_printed",
        "Not all that was asked for could be printed",
        "The disk or the device that the output goes to is full or broken.",
        "Make room there, and ask again.",
        RetryAdvice.FREE,
    ),
    Problem(
        "state_newer",
        "The state directory was written by a newer synthdub",
        "This version would not understand all of it, so it is left untouched.",
        "Update synthdub, or choose another --state-dir.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "state_busy",
        "Another runner holds this state directory",
        "A `synthdub run` or a dashboard's runner works on it.",
        "Watch it with `synthdub status`, end it with `synthdub stop`, or choose another --state-dir.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "state_readable",
        "Others on this machine can read the state directory",
        "Its file system knows no permissions, as FAT and exFAT, or is mounted for everybody.",
        "No key is in it, but names of files are, and who can write there can change it. Choose another with --state-dir.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "state_corrupt",
        "A state file was damaged and set aside",
        "It could not be read as a job of synthdub.",
        "The rest goes on. Mend the named file and move it back to `jobs`, or add the source again with --force-new.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "state_lost",
        "What was done for this video is not known any more",
        "Its state file was damaged and set aside: it may have been dubbed, and paid for.",
        "Mend its file in STATE/damaged and move it back to STATE/jobs; or add it with --force-new, which spends credits.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "name_ambiguous",
        "Several folders have a file of that name",
        "A retry may cost, and a cancel cannot be taken back: synthdub does not guess which one is meant. Nothing was done.",
        "Name it by its path, as in the list.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "not_one_dub",
        "That does not name one dub",
        "A project is adopted for one dub at a time, and synthdub does not guess which. Nothing was changed.",
        "Name it as FILE:LANG, or by one of the names given here.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "adopt_no_id",
        "That does not name one project",
        "A project's id looks like 0f5b2c1e-7d0a-4c3b-9a58-2f1d6e7b8c90. Nothing was changed.",
        "Give the id alone, or the project's address in Studio if it holds no other id.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "adopt_unknown_project",
        "The service knows no dubbing project of that id",
        "It was deleted in Studio, belongs to another account than this key's, or is the id of something else. Nothing was "
        "changed or paid.",
        "Compare the id with the project's address in Studio, and check the key.",
        RetryAdvice.FREE,
    ),
    Problem(
        "adopt_unanswered",
        "The service does not say whether it has that project",
        "It cannot be reached, is busy, or something other than its API answered. Nothing was changed or paid.",
        "Check the connection with `synthdub doctor`, and try again in a while; that is free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "adopt_not_listed",
        "The project does not have that language",
        "It may be another video's, or take a moment before it lists what was just begun. Nothing was changed or paid.",
        "Look the project up in Studio; trying again is free.",
        RetryAdvice.FREE,
    ),
    Problem(
        "adopt_failed",
        "That language failed in the project",
        "There is nothing to download. Nothing was changed or paid.",
        "`synthdub retry FILE:LANG` dubs it again; it may cost credits, and asks first.",
        RetryAdvice.COSTS,
    ),
    Problem(
        "adopt_not_needed",
        "The dub is under way at the service, or done",
        "Only one that waits, failed, was cancelled or is unknown can be adopted. Nothing was changed.",
        "`synthdub status` says how it stands. To follow another project instead, cancel the dub first: its own may be billed.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "no_such_job",
        "No such file or dub in this batch",
        "",
        "`synthdub status` lists the files; name them as FILE or FILE:LANG.",
        RetryAdvice.USELESS,
    ),
    Problem(
        "runner_gone",
        "The runner does not answer",
        "It ended, or is too busy.",
        "Try again; if it stays so, `synthdub stop` and start it anew. Nothing is lost.",
        RetryAdvice.FREE,
    ),
    Problem(
        "runner_ended",
        "The runner has ended",
        "",
        "Start it again to go on. Nothing is lost.",
        RetryAdvice.FREE,
    ),
    Problem(
        "runner_other",
        "The runner is of another version",
        "synthdub was updated while this was open, or another installation works here.",
        "Quit and start synthdub again.",
        RetryAdvice.FREE,
    ),
    Problem(
        "runner_none",
        "No runner works here",
        "A dashboard that only watches starts none.",
        "It is shown as soon as somebody starts one; `synthdub status` tells what is kept.",
        RetryAdvice.FREE,
    ),
    Problem(
        "internal",
        "synthdub met an error of its own",
        "This is a mistake in the program, not yours.",
        "The log in the state directory says where. Retry may help.",
        RetryAdvice.FREE,
    ),
)
