"""What goes wrong at the service of a soak now and then: connections, answers, limits, transfers."""

from __future__ import annotations

from synthdub_tui.sandbox.config import Fault, FaultKind

ERROR_PAGE = "<html>502</html>"
_LOST_ANSWER_FAULTS: tuple[FaultKind, ...] = ("reset_before", "reset_after", "reset_during")


def mixed_faults(*, lost: float, down: float, paid: float, limited: float, storage: float) -> tuple[Fault, ...]:
    """With these probabilities: a read is lost, the service is down, a paid call is spoiled (in each of several ways) or
    limited, the storage is down. What befalls transfers is the same for all."""
    return (
        *(Fault("GET *", kind, probability=lost, after_bytes=20) for kind in _LOST_ANSWER_FAULTS),
        Fault("GET *", "status", probability=down, status=502, body=ERROR_PAGE),
        Fault("GET *", "rate_limit", probability=0.005, seconds=1.0),
        Fault("POST /v2/assets", "reset_after", probability=0.05),
        Fault("POST /v2/assets", "rate_limit", probability=0.02, seconds=1.0),
        *(Fault("P* /v2/dubbing*", kind, probability=paid, after_bytes=5) for kind in (*_LOST_ANSWER_FAULTS, "truncate")),
        Fault("P* /v2/dubbing*", "status", probability=paid, status=500, body=ERROR_PAGE),
        Fault("P* /v2/dubbing*", "rate_limit", probability=limited, seconds=1.0),
        Fault("P* /v2/dubbing*", "delay", probability=0.1, seconds=0.5),
        Fault("S3 *", "status", probability=storage, status=503),
        Fault("S3 PutObject", "reset_after", probability=0.05),
        Fault("S3 UploadPart", "reset_before", probability=0.1),
        Fault("S3 CompleteMultipartUpload", "reset_after", probability=0.1),
        Fault("download", "reset_during", probability=0.05, after_bytes=30_000),
        Fault("download", "truncate", probability=0.1, after_bytes=50_000),
        Fault("download", "slow", probability=0.1, bytes_per_second=100_000),
        Fault("captions", "truncate", probability=0.05, after_bytes=30),
    )
