"""Time to the last output, ours against the vendor's: `python -m tests.benchmarks.makespan [--short] [--mixed]`.

One sandbox in a process of its own, with limited lines, dubbing times and rate limits, serves both, one after the other; each
is a process of its own too. All times are 1/60 of real ones: a second here stands for a minute. That holds for dubbing times,
for the windows of the rate limits (Creator's 60 calls a minute are 60 a second), for the polling interval of both sides (10 s
→ 1/6 s) and for the runner's waits (`Backoff`); not for the work of this machine, which so weighs 60 times what it weighs in
real use. Times are taken from the first line of work to the last, without the imports, which would weigh a minute.

The vendor's way is written anew after the logic of its guide: one file at a time, wait for the whole project, then
download every language. Ours is `synthdub_tui.commands.headless_run.run_batch`.

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

SPEED_FACTOR: Final = 60.0
POLL_SECONDS: Final = 10.0 / SPEED_FACTOR
WRITE_LIMITS: Final = ((60, 60 / SPEED_FACTOR), (300, 3600 / SPEED_FACTOR), (1000, 86_400 / SPEED_FACTOR))
READ_LIMITS: Final = ((60, 60 / SPEED_FACTOR), (20_000, 86_400 / SPEED_FACTOR))
BYTES_PER_MB: Final = 1_000_000
LANGUAGES: Final = ("fr-FR", "es-ES", "de-DE", "it", "pt-BR")


@dataclass(frozen=True)
class MakespanScene:
    """A batch and the service it meets. `dubbing`: seconds of the quickest and slowest language of each file; else bytes."""

    languages: int
    sizes: tuple[int, ...]
    dubbing: tuple[tuple[float, float], ...]
    output: int
    line: float
    processing: float = 0.3


@dataclass
class MakespanRun:
    """What one side did. `done`: epoch seconds at which each output was on disk, by "stem/language"."""

    started: float
    ended: float
    done: dict[str, float]

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def make_even_scene(files: int, languages: int = 4) -> MakespanScene:
    """Files much alike, on a good line: 100 MB at 100 Mbit/s are 8 s, so here 0.13 s for 1 MB. Dubs of 3–8 s (minutes)."""
    chance = random.Random(12)
    sizes = tuple(chance.randint(8 * BYTES_PER_MB // 10, 12 * BYTES_PER_MB // 10) for _ in range(files))
    return MakespanScene(languages, sizes, ((3.0, 8.0),) * files, 500_000, 7.5 * BYTES_PER_MB)


def make_mixed_scene(files: int, languages: int = 5) -> MakespanScene:
    """The same line. Sizes and dubbing times spread 1–20 times and about in proportion; languages vary by a fifth."""
    chance = random.Random(40)
    spread = [20 ** chance.random() for _ in range(files)]
    sizes = tuple(int(0.4 * BYTES_PER_MB * by) for by in spread)
    times = [1.2 * by * chance.uniform(0.7, 1.4) for by in spread]
    return MakespanScene(languages, sizes, tuple((low, 1.2 * low) for low in times), 2 * BYTES_PER_MB, 7.5 * BYTES_PER_MB)


def main() -> None:
    options = _parse_options()
    if options.child:
        _CHILD_FUNCTIONS[options.child](
            json.load(sys.stdin) if options.child != "sandbox" else json.loads(sys.stdin.readline())
        )
        return
    scene = make_mixed_scene(4 if options.short else 40) if options.mixed else make_even_scene(2 if options.short else 12)
    if options.short:
        scene = replace(scene, dubbing=tuple((low / 12, high / 12) for low, high in scene.dubbing))
    with tempfile.TemporaryDirectory(prefix="synthdub-makespan-") as name:
        folder = Path(name)
        with _running_sandbox(folder, scene) as service:
            sides = {}
            for who in ("ours",) if options.ours else ("vendor", "ours"):
                videos = _make_sources(folder / who, scene)
                sides[who] = _run_side(who, videos, scene, service)
            told = service.read_report()
    _print_table(scene, sides, told)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time to the last output, ours against the vendor's way.")
    parser.add_argument("--short", action="store_true", help="few files, quick dubs: shows only that it works")
    parser.add_argument("--mixed", action="store_true", help="40 files of mixed sizes and dubbing times in 5 languages")
    parser.add_argument("--ours", action="store_true", help="leave the vendor's way out")
    parser.add_argument("--child", choices=["vendor", "ours", "sandbox"], help=argparse.SUPPRESS)
    return parser.parse_args()


# -- the service, in a process of its own --------------------------------------------------------------------------------


@dataclass
class BenchmarkSandbox:
    """The sandbox's process: where it listens, and what it saw."""

    process: subprocess.Popen[str]
    urls: dict[str, str]

    def read_report(self) -> dict[str, Any]:
        return self._send_command("report")

    def _send_command(self, word: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def _running_sandbox(folder: Path, scene: MakespanScene) -> Iterator[BenchmarkSandbox]:
    process = subprocess.Popen(_child_command("sandbox"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"root": str(folder / "sandbox"), "scene": asdict(scene)}) + "\n")
    process.stdin.flush()
    try:
        yield BenchmarkSandbox(process, json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait(30)


def _serve_sandbox(task: dict[str, Any]) -> None:
    from synthdub_tui.sandbox.config import EndpointRate, SandboxConfig
    from synthdub_tui.sandbox.service import Sandbox, running_sandbox

    scene = task["scene"]
    # The sandbox knows minutes, hours and days: 300 an hour at 60 times the speed are 300 a minute. Shorter windows it has not.
    writes, reads = EndpointRate(minute=300, hour=2500), EndpointRate(minute=3600, hour=50_000)
    config = SandboxConfig(
        processing_seconds=scene["processing"],
        dubbing_seconds_by_title={f"{_video_stem(n)}*": tuple(span) for n, span in enumerate(scene["dubbing"])},
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
                "dubs": {dub.language: [dub.created, dub.ends_at] for dub in project.dubs.values()},
                "created": project.created,
            }
            for project in service.state.projects.values()
        ]
        journal = [[r.time, r.endpoint, r.project, r.bytes_out] for r in service.journal]
        return {"projects": projects, "journal": journal}

    with running_sandbox(config, Path(task["root"])) as service:
        urls = {"api": service.api_url, "s3": service.s3_url, "key": service.api_key}
        print(json.dumps(urls), flush=True)
        for _ in sys.stdin:
            print(json.dumps(report(service)), flush=True)


# -- the two sides -------------------------------------------------------------------------------------------------------


def _run_side(who: str, videos: Path, scene: MakespanScene, service: BenchmarkSandbox) -> MakespanRun:
    task = {"videos": str(videos), "languages": LANGUAGES[: scene.languages], **service.urls}
    done = subprocess.run(_child_command(who), input=json.dumps(task), stdout=subprocess.PIPE, text=True, check=True)
    return MakespanRun(**json.loads(done.stdout.splitlines()[-1]))


def _run_ours(task: dict[str, Any]) -> None:
    import boto3  # noqa: F401 - imports are not part of the comparison
    import httpx  # noqa: F401
    import s3transfer.manager  # noqa: F401

    from synthdub_tui.commands.headless_run import run_batch
    from synthdub_tui.jobs.batch_options import BatchOptions
    from synthdub_tui.runner.events import EventPrinter
    from synthdub_tui.settings.model import QuotaSettings, Settings
    from synthdub_tui.store.job_store import JobStore

    state = f"{task['videos']}-state"
    settings = Settings(
        api_key=task["key"],
        api_url=task["api"],
        s3_endpoint_url=task["s3"],
        state_dir=state,
        poll_interval=POLL_SECONDS,
        settle_seconds=0.0,
        quota=QuotaSettings(writes=WRITE_LIMITS, reads=READ_LIMITS),
        batch=BatchOptions(targets=tuple(task["languages"])),
    )
    reporter = EventPrinter(as_json=True, out=io.StringIO())
    started = time.time()
    code = asyncio.run(run_batch(settings, [task["videos"]], reporter, lambda: "", backoff=_scaled_backoff()))
    ended = time.time()
    jobs = JobStore(state).load().jobs
    done = {f"{Path(job.source.path).stem}/{lang}": dub.since for job in jobs for lang, dub in job.dubs.items() if dub.output}
    if code or len(done) != len(jobs) * len(task["languages"]):
        sys.exit(f"not all outputs came: exit code {code}, {len(done)} outputs")
    print(json.dumps(asdict(MakespanRun(started, ended, done))))


def _scaled_backoff() -> Any:
    """The runner's waits at the speed of everything else."""
    from synthdub_tui.runner.backoff import Backoff

    usual = Backoff()
    names = (
        *("initial_delay", "max_delay", "asset_poll_initial_delay", "asset_poll_max_delay", "asset_unseen_timeout"),
        *("asset_ready_timeout", "upload_retry_delay"),
    )
    return Backoff(**{name: getattr(usual, name) / SPEED_FACTOR for name in names})


def _run_vendor(task: dict[str, Any]) -> None:
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
                time.sleep(POLL_SECONDS)
            for dub in answer["dubbedAssets"]:
                target = path.with_name(f"{path.stem}.dubbed-{dub['language']}.mp4")
                with plain.stream("GET", dub["download"]) as response, target.open("wb") as file:
                    for chunk in response.raise_for_status().iter_bytes(128 * 1024):
                        file.write(chunk)
                done[f"{path.stem}/{dub['language']}"] = time.time()
    print(json.dumps(asdict(MakespanRun(started, time.time(), done))))


_CONTENT_TYPES: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}


def _vendor_upload(api: Any, path: Path, s3: str) -> str:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    kind = _CONTENT_TYPES[path.suffix]
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


_CHILD_FUNCTIONS: Final = {"vendor": _run_vendor, "ours": _run_ours, "sandbox": _serve_sandbox}


def _child_command(child: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.makespan", "--child", child]


def _video_stem(number: int) -> str:
    return f"video-{number:02d}"


def _make_sources(folder: Path, scene: MakespanScene) -> Path:
    """Real videos of the three types, made as large as the scene wants by bytes at the end that players pass over."""
    from synthdub_tui.sandbox.media import make_sources

    made = make_sources(folder / "made", len(scene.sizes))
    videos = folder / "videos"
    videos.mkdir()
    for number, (path, size) in enumerate(zip(made, scene.sizes, strict=True)):
        target = path.rename(videos / f"{_video_stem(number)}{path.suffix}")
        with target.open("r+b") as file:
            file.truncate(max(size, target.stat().st_size))
    return videos


# -- bounds and tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LowerBounds:
    """Seconds that nobody can beat, see the module's docstring."""

    up: float
    down: float
    quota: float
    chain: float
    order: float

    @property
    def largest(self) -> float:
        return max(self.up, self.down, self.quota, self.chain)


def _lower_bounds(scene: MakespanScene, projects: list[dict[str, Any]], down: int) -> LowerBounds:
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
    return LowerBounds(
        up=sum(uploads),
        down=down / scene.line,
        quota=max(_seconds_for_calls(2 * len(uploads), READ_LIMITS), _seconds_for_calls(len(uploads), WRITE_LIMITS)),
        chain=max(uploads[number] + tail for number, tail in tails.items()),
        order=order,
    )


def _seconds_for_calls(calls: int, limits: tuple[tuple[int, float], ...]) -> float:
    return max(seconds * ((calls - 1) // count) for count, seconds in limits)


def _print_table(scene: MakespanScene, sides: dict[str, MakespanRun], told: dict[str, Any]) -> None:
    files, outputs = len(scene.sizes), len(scene.sizes) * scene.languages
    print(
        f"{files} files × {scene.languages} languages, {sum(scene.sizes) / BYTES_PER_MB:.0f} MB up; "
        "seconds, each standing for a minute"
    )
    titles = ("", "seconds", "bound", "ratio", "best order", "ready → noticed", "p95", "ready → file", "p95", "GETs")
    print(" ".join(f"{title:>{width}}" for title, width in zip(titles, _COLUMN_WIDTHS, strict=True)))
    for who, run in sides.items():
        judged = _side_figures(scene, run, told)
        bound = judged.bounds.largest
        spans = (*_median_and_p95(judged.notice_delays), *_median_and_p95(judged.file_delays))
        cells = (run.seconds, bound, run.seconds / bound, judged.bounds.order, *spans)
        numbers = " ".join(f"{cell:>{width}.2f}" for cell, width in zip(cells, _COLUMN_WIDTHS[1:], strict=False))
        print(f"{who:>{_COLUMN_WIDTHS[0]}} {numbers} {judged.polls:>{_COLUMN_WIDTHS[-1]}}")
    bounds = _side_figures(scene, sides["ours"], told).bounds
    print(f"bounds of ours: up {bounds.up:.1f}, down {bounds.down:.1f}, quota {bounds.quota:.1f}, chain {bounds.chain:.1f} s")
    if "vendor" in sides:
        print(f"{outputs} outputs: the vendor's way takes {sides['vendor'].seconds / sides['ours'].seconds:.1f} times as long")


_COLUMN_WIDTHS: Final = (7, 8, 6, 6, 11, 16, 6, 13, 6, 6)


def _median_and_p95(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


@dataclass(frozen=True)
class SideFigures:
    """What came of one side: seconds from ready at the service until it was asked next, and until the file was on disk."""

    bounds: LowerBounds
    notice_delays: list[float]
    file_delays: list[float]
    polls: int


def _side_figures(scene: MakespanScene, run: MakespanRun, told: dict[str, Any]) -> SideFigures:
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
    return SideFigures(_lower_bounds(scene, projects, down), noticed, filed, sum(map(len, asked.values())))


if __name__ == "__main__":
    main()
