"""Time to the last output, ours against the vendor's: `python -m tests.benchmarks.makespan [--short] [--mixed]`.

One sandbox in a process of its own, with limited lines, dubbing times and rate limits, serves both, one after the other; each
is a process of its own too. All times are 1/60 of real ones: a second here stands for a minute. That holds for dubbing times,
for the windows of the rate limits (Creator's 60 calls a minute are 60 a second), for the polling interval of both sides (10 s
→ 1/6 s) and for the runner's waits (`Patience`); not for the work of this machine, which so weighs 60 times what it weighs in
real use. Times are taken from the first line of work to the last, without the imports, which would weigh a minute.

The vendor's way is written anew after the logic of its guide: one file at a time, wait for the whole project, then
download every language. Ours is `synthdub_tui.commands.run.run`.

The bound is the largest of what nobody can beat, each computed from what this very run was given (the sandbox tells):

- up, down: all bytes of the sources, or of the outputs and captions, over the line's bytes per second.
- quota: the fewest calls that do the work (two POST and two GET a file, each endpoint counted for itself) through the sliding
  windows: n calls under c per w seconds need at least w · ⌊(n-1)/c⌋ seconds.
- chain: the slowest single file: its upload on an empty line, the service's look at it, its slowest language and the download
  of that.

`best order` is a sharper bound, shown beside: uploads share one line, so the files uploaded last still have to be dubbed.
With tails q (look, slowest dub, download) the best is max over j of (p₁+…+pⱼ+qⱼ) in order of falling q: Jackson, "Scheduling
a production line to minimize maximum tardiness", 1955. Nobody knows the tails beforehand, so it is out of reach.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

SPEED: Final = 60.0
POLL: Final = 10.0 / SPEED
WRITES: Final = ((60, 60 / SPEED), (300, 3600 / SPEED), (1000, 86_400 / SPEED))
READS: Final = ((60, 60 / SPEED), (20_000, 86_400 / SPEED))
MB: Final = 1_000_000
LANGUAGES: Final = ("fr-FR", "es-ES", "de-DE", "it", "pt-BR")


@dataclass(frozen=True)
class Scene:
    """A batch and the service it meets. `dubbing`: seconds of the quickest and slowest language of each file; else bytes."""

    languages: int
    sizes: tuple[int, ...]
    dubbing: tuple[tuple[float, float], ...]
    output: int
    line: float
    processing: float = 0.3


@dataclass
class Run:
    """What one side did. `done`: epoch seconds at which each output was on disk, by "stem/language"."""

    started: float
    ended: float
    done: dict[str, float]

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def even(files: int, languages: int = 4) -> Scene:
    """Files much alike, on a good line: 100 MB at 100 Mbit/s are 8 s, so here 0.13 s for 1 MB. Dubs of 3–8 s (minutes)."""
    chance = random.Random(12)
    sizes = tuple(chance.randint(8 * MB // 10, 12 * MB // 10) for _ in range(files))
    return Scene(languages, sizes, ((3.0, 8.0),) * files, 500_000, 7.5 * MB)


def mixed(files: int, languages: int = 5) -> Scene:
    """The same line. Sizes and dubbing times spread 1–20 times and about in proportion; languages vary by a fifth."""
    chance = random.Random(40)
    spread = [20 ** chance.random() for _ in range(files)]
    sizes = tuple(int(0.4 * MB * by) for by in spread)
    times = [1.2 * by * chance.uniform(0.7, 1.4) for by in spread]
    return Scene(languages, sizes, tuple((low, 1.2 * low) for low in times), 2 * MB, 7.5 * MB)


def main() -> None:
    options = _options()
    if options.child:
        _CHILDREN[options.child](json.load(sys.stdin) if options.child != "sandbox" else json.loads(sys.stdin.readline()))
        return
    scene = mixed(4 if options.short else 40) if options.mixed else even(2 if options.short else 12)
    if options.short:
        scene = replace(scene, dubbing=tuple((low / 12, high / 12) for low, high in scene.dubbing))
    with tempfile.TemporaryDirectory(prefix="synthdub-makespan-") as name:
        folder = Path(name)
        with _sandbox(folder, scene) as service:
            sides = {}
            for who in ("ours",) if options.ours else ("vendor", "ours"):
                videos = _sources(folder / who, scene)
                sides[who] = _run(who, videos, scene, service)
            told = service.report()
    _print(scene, sides, told)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time to the last output, ours against the vendor's way.")
    parser.add_argument("--short", action="store_true", help="few files, quick dubs: shows only that it works")
    parser.add_argument("--mixed", action="store_true", help="40 files of mixed sizes and dubbing times in 5 languages")
    parser.add_argument("--ours", action="store_true", help="leave the vendor's way out")
    parser.add_argument("--child", choices=["vendor", "ours", "sandbox"], help=argparse.SUPPRESS)
    return parser.parse_args()


# -- the service, in a process of its own --------------------------------------------------------------------------------


@dataclass
class Service:
    """The sandbox's process: where it listens, and what it saw."""

    process: subprocess.Popen[str]
    urls: dict[str, str]

    def report(self) -> dict[str, Any]:
        return self._ask("report")

    def _ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def _sandbox(folder: Path, scene: Scene) -> Iterator[Service]:
    process = subprocess.Popen(_command("sandbox"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"root": str(folder / "sandbox"), "scene": asdict(scene)}) + "\n")
    process.stdin.flush()
    try:
        yield Service(process, json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait(30)


def _serve(task: dict[str, Any]) -> None:
    from synthdub_tui.sandbox.config import Rate, SandboxConfig
    from synthdub_tui.sandbox.service import Sandbox, running

    scene = task["scene"]
    # The sandbox knows minutes, hours and days: 300 an hour at 60 times the speed are 300 a minute. Shorter windows it has not.
    writes, reads = Rate(minute=300, hour=2500), Rate(minute=3600, hour=50_000)
    config = SandboxConfig(
        processing_seconds=scene["processing"],
        dubbing_seconds_by_title={f"{_stem(n)}*": tuple(span) for n, span in enumerate(scene["dubbing"])},
        output_seconds=0.3,  # of picture and sound, which this machine has to draw; the size is padding
        output_padding=scene["output"],
        bandwidth_up=scene["line"],
        bandwidth_down=scene["line"],
        limits={"POST *": writes, "PUT *": writes, "GET *": reads},
    )

    def report(service: Sandbox) -> dict[str, Any]:
        projects = [
            {
                "id": project.id,
                "title": project.title,
                "dubs": {dub.language: [dub.created, dub.ends] for dub in project.dubs.values()},
                "created": project.created,
            }
            for project in service.state.projects.values()
        ]
        journal = [[r.time, r.endpoint, r.project, r.bytes_out] for r in service.journal]
        return {"projects": projects, "journal": journal}

    with running(config, Path(task["root"])) as service:
        urls = {"api": service.api_url, "s3": service.s3_url, "key": service.api_key}
        print(json.dumps(urls), flush=True)
        for _ in sys.stdin:
            print(json.dumps(report(service)), flush=True)


# -- the two sides -------------------------------------------------------------------------------------------------------


def _run(who: str, videos: Path, scene: Scene, service: Service) -> Run:
    task = {"videos": str(videos), "languages": LANGUAGES[: scene.languages], **service.urls}
    done = subprocess.run(_command(who), input=json.dumps(task), stdout=subprocess.PIPE, text=True, check=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def _ours(task: dict[str, Any]) -> None:
    import boto3  # noqa: F401 - imports are not part of the comparison
    import httpx  # noqa: F401
    import s3transfer.manager  # noqa: F401

    from synthdub_tui.commands.run import run_batch
    from synthdub_tui.jobs.batch_options import Batch
    from synthdub_tui.runner.events import Reporter
    from synthdub_tui.settings.model import QuotaSettings, Settings
    from synthdub_tui.store.job_store import Store

    state = f"{task['videos']}-state"
    settings = Settings(
        api_key=task["key"],
        api_url=task["api"],
        s3_endpoint_url=task["s3"],
        state_dir=state,
        poll_interval=POLL,
        settle_seconds=0.0,
        quota=QuotaSettings(writes=WRITES, reads=READS),
        batch=Batch(targets=tuple(task["languages"])),
    )
    reporter = Reporter(as_json=True, out=io.StringIO())
    started = time.time()
    code = asyncio.run(run_batch(settings, [task["videos"]], reporter, lambda: "", patience=_patience()))
    ended = time.time()
    jobs = Store(state).load().jobs
    done = {f"{Path(job.source.path).stem}/{lang}": dub.since for job in jobs for lang, dub in job.dubs.items() if dub.output}
    if code or len(done) != len(jobs) * len(task["languages"]):
        sys.exit(f"not all outputs came: exit code {code}, {len(done)} outputs")
    print(json.dumps(asdict(Run(started, ended, done))))


def _patience() -> Any:
    """The runner's waits at the speed of everything else."""
    from synthdub_tui.runner.backoff import Patience

    usual = Patience()
    names = ("back_off", "back_off_limit", "asset_first", "asset_longest", "asset_unseen", "asset_limit", "upload_pause")
    return Patience(**{name: getattr(usual, name) / SPEED for name in names})


def _vendor(task: dict[str, Any]) -> None:
    """The guide's script: for each file asset, upload, dubbing, poll for the whole, downloads one after the other."""
    import boto3
    import httpx
    import s3transfer.manager  # noqa: F401

    done: dict[str, float] = {}
    headers = {"Authorization": task["key"], "accept": "application/json"}
    boto3.session.Session()
    started = time.time()
    with httpx.Client(base_url=task["api"], headers=headers, timeout=60) as api, httpx.Client(timeout=60) as plain:
        for path in sorted(Path(task["videos"]).iterdir()):
            if path.suffix not in (".mp4", ".mov", ".webm") or ".dubbed-" in path.name:
                continue
            asset = _vendor_upload(api, path, task["s3"])
            project = _vendor_dub(api, path, asset, task["languages"])
            while (answer := api.get(f"/v2/dubbing/{project}").raise_for_status().json())["status"] != "complete":
                time.sleep(POLL)
            for dub in answer["dubbedAssets"]:
                target = path.with_name(f"{path.stem}.dubbed-{dub['language']}.mp4")
                with plain.stream("GET", dub["download"]) as response, target.open("wb") as file:
                    for chunk in response.raise_for_status().iter_bytes(128 * 1024):
                        file.write(chunk)
                done[f"{path.stem}/{dub['language']}"] = time.time()
    print(json.dumps(asdict(Run(started, time.time(), done))))


_TYPES: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}


def _vendor_upload(api: Any, path: Path, s3: str) -> str:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    kind = _TYPES[path.suffix]
    configuration = {"name": "dubbing", "detectLanguage": True}
    body = {"contentType": kind, "configuration": configuration, "title": path.stem}
    asset = api.post("/v2/assets", json=body).raise_for_status().json()
    keys = asset["uploadCredentials"]
    client = boto3.client(
        "s3",
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretAccessKey"],
        aws_session_token=keys["sessionToken"],
        region_name="eu-west-1",
        endpoint_url=s3,
        config=Config(s3={"addressing_style": "path"}),
    )
    transfer = TransferConfig(8 * 1024 * 1024, max_concurrency=6, multipart_chunksize=32 * 1024 * 1024)
    client.upload_file(str(path), keys["bucket"], keys["key"], ExtraArgs={"ContentType": kind}, Config=transfer)
    return str(asset["id"])


def _vendor_dub(api: Any, path: Path, asset: str, languages: list[str]) -> str:
    body = {
        "sourceLanguage": "en",
        "targetLanguages": languages,
        "lipsyncEnabled": False,
        "videoDuration": "adaptive",
        "visibility": "private",
        "title": f"{path.stem} (dubbed)",
        "sourceAssetId": asset,
    }
    return str(api.post("/v2/dubbing", json=body).raise_for_status().json()["createdImportedAsset"]["id"])


_CHILDREN: Final = {"vendor": _vendor, "ours": _ours, "sandbox": _serve}


def _command(child: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.makespan", "--child", child]


def _stem(number: int) -> str:
    return f"video-{number:02d}"


def _sources(folder: Path, scene: Scene) -> Path:
    """Real videos of the three types, made as large as the scene wants by bytes at the end that players pass over."""
    from synthdub_tui.sandbox.media import make_sources

    made = make_sources(folder / "made", len(scene.sizes))
    videos = folder / "videos"
    videos.mkdir()
    for number, (path, size) in enumerate(zip(made, scene.sizes, strict=True)):
        target = path.rename(videos / f"{_stem(number)}{path.suffix}")
        with target.open("r+b") as file:
            file.truncate(max(size, target.stat().st_size))
    return videos


# -- bounds and tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """Seconds that nobody can beat, see the module's docstring."""

    up: float
    down: float
    quota: float
    chain: float
    order: float

    @property
    def largest(self) -> float:
        return max(self.up, self.down, self.quota, self.chain)


def _bounds(scene: Scene, projects: list[dict[str, Any]], down: int) -> Bounds:
    """From the dubbing times that the service chose in this run, and the bytes that it sent."""
    output = scene.output / scene.line
    tails = {}
    for project in projects:
        number = int(project["title"].split()[0].removeprefix("video-"))
        tails[number] = scene.processing + max(ends - begun for begun, ends in project["dubs"].values()) + output
    uploads = [size / scene.line for size in scene.sizes]
    at, order = 0.0, 0.0
    for number in sorted(tails, key=lambda n: -tails[n]):
        at += uploads[number]
        order = max(order, at + tails[number])
    return Bounds(
        up=sum(uploads),
        down=down / scene.line,
        quota=max(_through(2 * len(uploads), READS), _through(len(uploads), WRITES)),
        chain=max(uploads[number] + tail for number, tail in tails.items()),
        order=order,
    )


def _through(calls: int, limits: tuple[tuple[int, float], ...]) -> float:
    return max(seconds * ((calls - 1) // count) for count, seconds in limits)


def _print(scene: Scene, sides: dict[str, Run], told: dict[str, Any]) -> None:
    files, outputs = len(scene.sizes), len(scene.sizes) * scene.languages
    print(
        f"{files} files × {scene.languages} languages, {sum(scene.sizes) / MB:.0f} MB up; seconds, each standing for a minute"
    )
    titles = ("", "seconds", "bound", "ratio", "best order", "ready → noticed", "p95", "ready → file", "p95", "GETs")
    print(" ".join(f"{title:>{width}}" for title, width in zip(titles, _WIDTHS, strict=True)))
    for who, run in sides.items():
        judged = _judged(scene, run, told)
        bound = judged.bounds.largest
        spans = (*_middle_and_late(judged.noticed), *_middle_and_late(judged.filed))
        cells = (run.seconds, bound, run.seconds / bound, judged.bounds.order, *spans)
        numbers = " ".join(f"{cell:>{width}.2f}" for cell, width in zip(cells, _WIDTHS[1:], strict=False))
        print(f"{who:>{_WIDTHS[0]}} {numbers} {judged.polls:>{_WIDTHS[-1]}}")
    bounds = _judged(scene, sides["ours"], told).bounds
    print(f"bounds of ours: up {bounds.up:.1f}, down {bounds.down:.1f}, quota {bounds.quota:.1f}, chain {bounds.chain:.1f} s")
    if "vendor" in sides:
        print(f"{outputs} outputs: the vendor's way takes {sides['vendor'].seconds / sides['ours'].seconds:.1f} times as long")


_WIDTHS: Final = (7, 8, 6, 6, 11, 16, 6, 13, 6, 6)


def _middle_and_late(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


@dataclass(frozen=True)
class Judged:
    """What came of one side: seconds from ready at the service until it was asked next, and until the file was on disk."""

    bounds: Bounds
    noticed: list[float]
    filed: list[float]
    polls: int


def _judged(scene: Scene, run: Run, told: dict[str, Any]) -> Judged:
    projects = [project for project in told["projects"] if run.started <= project["created"] <= run.ended]
    records = [record for record in told["journal"] if run.started <= record[0] <= run.ended]
    down = sum(sent for _, endpoint, _, sent in records if endpoint in ("download", "captions"))
    asked: dict[str, list[float]] = {project["id"]: [] for project in projects}
    for at, endpoint, project, _ in records:
        if endpoint == "GET /v2/dubbing/{id}":
            asked[project].append(at)
    noticed, filed = [], []
    for project in projects:
        for language, (_, ready) in project["dubs"].items():
            noticed.append(next(at for at in asked[project["id"]] if at >= ready) - ready)
            filed.append(run.done[f"{project['title'].split()[0]}/{language}"] - ready)
    return Judged(_bounds(scene, projects, down), noticed, filed, sum(map(len, asked.values())))


if __name__ == "__main__":
    main()
