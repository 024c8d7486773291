"""What a worker counts and times."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from common.metrics import LONG_SECONDS, SECONDS, begin_at_zero

STAGE_SECONDS = Histogram(
    "likeness_stage_duration_seconds",
    "Time one image spent in a stage, waiting for its batch included.",
    ["stage"],
    buckets=SECONDS,
)
QUEUE_SECONDS = Histogram(
    "likeness_queue_wait_seconds",
    "Time from when an image was due (pending, its pause over) until a worker claimed it.",
    buckets=LONG_SECONDS,
)
SEARCHABLE_SECONDS = Histogram(
    "likeness_upload_to_searchable_seconds",
    "Time from when an image was recorded until it was done for the first time.",
    buckets=LONG_SECONDS,
)
_ENDS = ("failed", "postponed", "ownership_lost", "unwritten")
"""How an attempt ends that does not come to its aim."""
OUTCOMES = Counter("likeness_images_processed", "Attempts on images that ended.", ["outcome"])
begin_at_zero(OUTCOMES, ["done", *_ENDS])
IN_FLIGHT = Gauge("likeness_images_in_flight", "Images this worker has claimed.", multiprocess_mode="livesum")
AT_GATE = Gauge(
    "likeness_images_at_gate",
    "Images this worker does not claim while what they need is down.",
    multiprocess_mode="livesum",
)
DECODE_POOL_SIZE = Gauge(
    "likeness_decode_pool_size", "Images that can be decoded at once, a process for each.", multiprocess_mode="livesum"
)
DECODE_POOL_IN_USE = Gauge("likeness_decode_pool_in_use", "Images that are being decoded.", multiprocess_mode="livesum")
DECODE_POOL_WAITING = Gauge(
    "likeness_decode_pool_waiting", "Images that wait for a process to decode them.", multiprocess_mode="livesum"
)
BYTES_IN_FLIGHT = Gauge(
    "likeness_bytes_in_flight",
    "Bytes of uploaded files that this worker holds, or is fetching.",
    multiprocess_mode="livesum",
)
RETRIES = Counter(
    "likeness_retries",
    "Attempts on images, downloads and operations that failed and were put back to be tried again.",
    ["class", "code"],
)
DOWNLOADS = Counter("likeness_downloads", "Attempts on downloads of imports that ended.", ["outcome"])
begin_at_zero(DOWNLOADS, ["stored", *_ENDS])
OPERATIONS = Counter(
    "likeness_operations",
    "Attempts on operations (audits, fills of a model's collection, calibrations, removals) that ended.",
    ["kind", "outcome"],
)
OPERATION_OUTCOMES: Final = ("done", *_ENDS)
COMPARED = Counter("likeness_images_compared", "Images whose duplicates have been looked for.")
LEFT_BEHIND = Counter("likeness_left_behind", "Images that went on without a building model's vector.", ["model"])

SWEPT = Counter("likeness_swept", "What the sweep healed.", ["kind"])
SWEEP_FAILURES = Counter("likeness_sweep_failures", "Steps of the sweep that an outage stopped.", ["kind"])

AUDITS = Counter("likeness_audits", "Audits that ended, by who asked for them.", ["origin"])
AUDIT_CHECKED = Counter("likeness_audit_checked", "What audits looked at: images, objects, points.", ["what"])
MISMATCHES = Counter("likeness_audit_mismatches", "What audits found, by whether it was mended.", ["kind", "mended"])
LAST_AUDIT = Gauge(
    "likeness_audit_last_timestamp_seconds",
    "When this worker ended an audit last, in seconds since 1970; 0: not since it started.",
    multiprocess_mode="max",
)
