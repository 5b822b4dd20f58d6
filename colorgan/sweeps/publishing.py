"""Publishing a trial's generator, as of an evaluated epoch, as a model package."""

from dataclasses import asdict

from safetensors.torch import load

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import open_dataset
from colorgan.errors import Corrupt, NotInStorage
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import decode, encode_png
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage
from colorgan.sweeps.documents import Sweep, open_sweep, read_history, read_state
from colorgan.sweeps.population import weights_history
from colorgan.training.config import SpeedConfig
from colorgan.training.networks import create_generator
from colorgan.training.records import history_csv
from colorgan.training.vividness import as_published


def publish_epoch(storage: Storage, name: str, trial: str, epoch: int, tag: str = "") -> ModelCard:
    """Publish a trial's generator, as of an evaluated epoch, as a model package.

    An epoch of a trial is published only once; later calls return its package.

    Args:
        storage: the storage of the sweep and of the package.
        name: the sweep's name.
        trial: the trial's name.
        epoch: an evaluated epoch.
        tag: the package's tag, with which it is not released on publishing; may be empty.

    Raises:
        NotInStorage: there is no such sweep, trial or evaluated epoch.
        Corrupt: the weights cannot be read.
    """
    sweep = open_sweep(storage, name)
    state = read_state(storage, sweep, sweep.trial(trial).name)
    history = read_history(storage, sweep, trial)
    evaluated = next((each for each in history.evaluations if each.epoch == epoch), None)
    if evaluated is None:
        known = ", ".join(str(each.epoch) for each in history.evaluations) or "none yet"
        raise NotInStorage(
            f"trial {trial!r} of sweep {name!r} was not evaluated after epoch {epoch}: "
            f"there are {known}"
        )
    config = sweep.config(state.values_at(epoch))
    generator = create_generator(config, sweep.model)
    key = sweep.weights_key(trial, epoch)
    try:
        generator.load_state_dict(load(storage.get(key)))
    except NotInStorage:
        raise
    except Exception as error:  # safetensors and PyTorch raise exception types of their own
        raise Corrupt(f"{key} cannot be read: {error}") from None
    dataset = open_dataset(storage, sweep.dataset["name"])
    records = weights_history(storage, sweep, trial, epoch)
    classes = dataset.model_classes(sweep.model)
    limit = int(SpeedConfig().photo_memory_gib * 2**30)
    generator, metrics = as_published(
        generator,
        records[-1],
        sweep.model,
        config,
        lambda: PhotoBank.load(dataset, classes, "val", config.size, limit),
    )
    judged = {name: value for name, value in evaluated.judged.items() if value is not None}
    return publish(
        storage,
        sweep.model,
        dataset,
        Trained(
            generator,
            classes=classes,
            training=asdict(config),
            metrics=metrics | judged,
            seconds=sum(record.seconds for record in records),
            device=state.device,
            epochs=epoch,
            objective=config.objective(sweep.model, epoch),
            run=f"{name}/{trial}",
            folder=sweep.key("trials", trial, "epochs", f"{epoch:05d}"),
            extra={
                "history.csv": history_csv(records),
                "samples.png": _samples(storage, sweep, trial, epoch),
            },
            tag=tag,
        ),
    )


def _samples(storage: Storage, sweep: Sweep, trial: str, epoch: int) -> bytes:
    rows = []
    for photo in sweep.photographs:
        keys = (
            sweep.photograph_key(photo, "gray"),
            sweep.picture_key(trial, epoch, photo),
            sweep.photograph_key(photo, "original"),
        )
        rows.append(SheetRow("", [decode(storage.get(key)).rgb for key in keys]))
    return encode_png(contact_sheet(("grayscale", "coloured", "original"), rows, columns=2))
