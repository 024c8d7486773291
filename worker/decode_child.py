"""The sandboxed process that decodes images: `python -m worker.decode_child CONFIG`, started by the decode pool alone.

It imports only Pillow, numpy and our imaging, limits and confines itself, and then turns images into pixels, one after
another, until its standard input ends.
"""

import ctypes
import math
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, cast

import pillow_heif.options
from PIL import AvifImagePlugin

from common.errors import ImageRejected, ImageUnreadable
from common.imaging import Preprocess
from worker.confinement import confine
from worker.decode_wire import LENGTH, OUT_OF_MEMORY, READY, ChildConfig, pack_picture, pack_refusal, unpack_wishes
from worker.render import Renderer

_PR_SET_PDEATHSIG = 1
_MAX_OPEN_FILES = 32


def main() -> None:
    """Take on the limits, say so, serve."""
    config = ChildConfig.from_json(sys.argv[1])
    _die_with(config.parent_pid)
    _die_before_the_worker()
    requests, answers = _claim_pipes()
    renderer = _find_renderer(config.renderer)
    _decode_in_one_thread()
    _limit_resources(config.memory_bytes)
    if not confine():
        sys.stderr.write("decode child: this system can't confine it; only its memory and time are limited\n")
    answers.write(READY)
    while (wishes := _read_part(requests)) is not None and (data := _read_part(requests)) is not None:
        _allow_cpu(config.cpu_s)
        answers.writelines(_answer(renderer, data, unpack_wishes(wishes), config))
        answers.flush()


def _answer(renderer: Renderer, data: bytes, preprocesses: list[Preprocess], config: ChildConfig) -> list[bytes]:
    """A picture or a verdict. Any other error is a defect of ours: it ends this process, with a traceback."""
    try:
        return pack_picture(renderer(data, preprocesses, config))
    except ImageRejected as error:
        return pack_refusal(error)
    except MemoryError:
        return pack_refusal(ImageUnreadable("decoding takes too much memory", code=OUT_OF_MEMORY))


def _read_part(requests: BinaryIO) -> bytes | None:
    head = requests.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = requests.read(length)
    return data if len(data) == length else None


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, however it dies, even while busy; an idle child would see its input end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was faster
        sys.exit(1)


def _die_before_the_worker() -> None:
    """Where a container's memory, or the machine's, runs out: the kernel ends a child, whose image is tried again."""
    with suppress(OSError):  # a kernel without that choice
        Path("/proc/self/oom_score_adj").write_text("1000")


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the standard streams for ourselves: what the codecs print, in a hostile image's words, goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0x10000), os.fdopen(os.dup(1), "wb", buffering=0)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
    return requests, answers


def _find_renderer(path: str) -> Renderer:
    module, _, name = path.partition(":")
    return cast(Renderer, getattr(import_module(module), name))


def _decode_in_one_thread() -> None:
    """The children are the parallelism; more threads would only take memory."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1


def _limit_resources(memory_bytes: int) -> None:
    """No written files, no core dumps, a bounded address space.

    RLIMIT_NPROC is left alone: it counts threads too, without which libde265 (HEIC) can't decode. Where `confine` can't
    keep a child from forking, what it forks is killed with it.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    if sys.platform == "linux":  # elsewhere RLIMIT_AS is ignored or refused
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _allow_cpu(seconds: float) -> None:
    """Processor time is counted over a process's life: allow what was used, and one image more."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    main()
