"""Trains the bundled demo model: `python -m embedder.demo.train --out model.safetensors`.

Takes well under an hour on two CPU cores. The seed decides every picture, caption and initial
weight, so the same versions on the same kind of processor give the same model.
"""

import argparse
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from embedder.demo import weights
from embedder.demo.batches import TRAINING_SEEDS, VALIDATION_SEEDS, SceneBatches, drawn_ahead
from embedder.demo.trainer import Trainer

_STEPS = 3600
_BATCH_SIZE = 128
_STEPS_PER_CHECKPOINT = 200
_VALIDATION_SCENES = 1000


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the bundled demo model on drawn scenes.")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument(
        "--steps", type=int, default=_STEPS, help="batches the learning rate is planned for (%(default)s)"
    )
    parser.add_argument("--until", type=int, help="stop after this many of them (all)")
    parser.add_argument("--seed", type=int, default=0, help="decides pictures and initial weights (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the model (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.out, options.steps, min(options.until or options.steps, options.steps), options.seed, Console())


def train(out: Path, steps: int, until: int, seed: int, console: Console) -> None:
    """Train a model for `until` of `steps`, writing it to `out` at every checkpoint and at the end.

    Raises:
        ValueError: the seed's pictures would be beyond those set aside for training.
    """
    seeds = TRAINING_SEEDS[seed * steps : (seed + 1) * steps]
    if len(seeds) < steps:
        raise ValueError(f"seed {seed} with {steps} steps reaches past the training seeds")
    trainer = Trainer(steps, seed)
    batches = drawn_ahead(SceneBatches(seeds, _BATCH_SIZE, trainer.model.visual.image_size), workers=1)
    with _progress(console) as progress:
        task = progress.add_task("training", total=until, loss=float("nan"))
        for step, batch in enumerate(islice(batches, until), start=1):
            progress.update(task, advance=1, loss=trainer.step(batch))
            if step % _STEPS_PER_CHECKPOINT == 0 or step == until:
                weights.save(trainer.model, out)
                evaluation = trainer.evaluate(VALIDATION_SEEDS[:_VALIDATION_SCENES])
                progress.console.print(f"step {step}: {evaluation}", highlight=False)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


if __name__ == "__main__":
    main()
