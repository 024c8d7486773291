"""What a worker counts and times."""

from prometheus_client import Counter, Gauge, Histogram

from common.metrics import LONG_SECONDS, SECONDS

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
OUTCOMES = Counter("likeness_images_processed", "Attempts that ended.", ["outcome"])
IN_FLIGHT = Gauge("likeness_images_in_flight", "Images this worker has claimed.", multiprocess_mode="livesum")
AT_GATE = Gauge(
    "likeness_images_at_gate",
    "Images this worker does not claim while what they need is down.",
    multiprocess_mode="livesum",
)
BYTES_IN_FLIGHT = Gauge(
    "likeness_bytes_in_flight",
    "Bytes of uploaded files that this worker holds, or is fetching.",
    multiprocess_mode="livesum",
)
RETRIES = Counter(
    "likeness_retries", "Attempts and downloads that failed and were put back to be tried again.", ["class", "code"]
)
DOWNLOADS = Counter("likeness_downloads", "Downloads of imports that ended.", ["outcome"])
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
