"""The settings of the service, with defaults that are safe on a laptop."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from colorgan.images.decoding import MAX_PIXELS
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _from_mapping(kind: Any) -> Callable[[Any], Any]:
    """Makes a dataclass of a mapping in a configuration file."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = [field.name for field in fields(kind)]
        unknown = [str(name) for name in value if name not in known]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return kind(**value)

    return read


_router = BeforeValidator(_from_mapping(RouterConfig))
_objects = BeforeValidator(_from_mapping(ObjectConfig))


class Limits(_Strict):
    """Limits on the requests to one ingress."""

    max_bytes: int = Field(25 * 1024 * 1024, gt=0, description="largest request body, in bytes")
    max_pixels: int = Field(MAX_PIXELS, gt=0, description="largest photograph, in pixels")
    max_requests: int = Field(
        16,
        gt=0,
        description="requests that one ingress handles at once; further ones are answered 503. "
        "Up to this number times max_bytes may arrive at once",
    )
    upload_timeout_s: float = Field(
        30.0, gt=0, description="time limit for receiving a request's body, in seconds"
    )
    timeout_s: float = Field(
        60.0, gt=0, description="time limit for a photograph after its file has arrived, in seconds"
    )

    @property
    def request_timeout_s(self) -> float:
        """The maximum duration of a request, in seconds."""
        return self.upload_timeout_s + self.timeout_s

    @property
    def max_arriving_bytes(self) -> int:
        """The maximum total size of all request bodies in one ingress, in bytes."""
        return self.max_requests * self.max_bytes


class ApiSettings(_Strict):
    """What an ingress takes of the settings, for its API.

    Attributes:
        limits: as in ServeConfig.
        browser_models: as in ServeConfig.
    """

    limits: Limits
    browser_models: str | None


class ServeConfig(_Strict):
    """The settings of the whole application."""

    storage: str | None = Field(
        None, description="storage of the models; $COLORGAN_STORAGE or artifacts/ if not set"
    )
    models: tuple[str, ...] = Field(
        (),
        strict=False,  # configuration files contain a list
        description="pinned versions, as animals@20261122-120000; for other models the "
        "version that is released at deployment is served",
    )
    router: Annotated[RouterConfig, _router] = RouterConfig()
    objects: Annotated[ObjectConfig | None, _objects] = Field(
        ObjectConfig(),
        description="what finds the objects for model=objects, in the process of the router; null "
        "leaves that out",
    )
    limits: Limits = Limits()
    browser_models: str | None = Field(
        None,
        description="a folder of colorgan export --format web, on each machine that may run an "
        "ingress: with it, the page at /?local=1 colours in the browser",
    )
    device: Literal["auto", "cpu", "gpu"] = "auto"
    compile: bool = Field(
        False,
        description="compile the networks for the machine's CPU: a model's first start there takes "
        "about 40 seconds longer, and every photograph is faster",
    )
    threads: int = Field(1, gt=0, description="PyTorch threads in each replica on a CPU")
    one_process: bool = Field(
        False,
        description="run the router and all generators in the ingress's process, instead of a "
        "replica for each: less memory, and no way to scale them one by one",
    )
    served: tuple[str, ...] = Field(
        (),
        strict=False,
        description="the models, if the user_config of each deployment names its packages; "
        "python -m serve.deploy writes it, so that newer packages need no new processes",
    )
    code: str = Field(
        "", description="SHA-256 of the code that deploys, checked by every replica; likewise"
    )

    @property
    def api(self) -> ApiSettings:
        """What an ingress takes of them."""
        return ApiSettings(limits=self.limits, browser_models=self.browser_models)


class Choice(_Strict):
    """The packages that one replica serves.

    Attributes:
        packages: references, `model@version`.
        router: configuration of the router; None for a replica of a generator.
        objects: what finds objects, beside the router; None if nothing does.
    """

    packages: tuple[str, ...] = Field(strict=False)
    router: Annotated[RouterConfig | None, _router] = None
    objects: Annotated[ObjectConfig | None, _objects] = None

    @property
    def references(self) -> list[str]:
        """All packages that are served, the router's head and the detector included."""
        beside = [self.router.head] if self.router and self.router.head else []
        if self.objects:
            named = (self.objects.detector, self.objects.object_masks)
            beside += [each for each in named if "@" in each]
        return [*self.packages, *beside]

    def settings(self) -> dict[str, Any]:
        """The choice as a deployment's user_config, which JSON and YAML can hold."""
        settings: dict[str, Any] = {"packages": list(self.packages)}
        if self.router:
            fields = asdict(self.router)
            settings["router"] = {name: value for name, value in fields.items() if value}
        if self.objects:
            settings["objects"] = asdict(self.objects)
        return settings


class ReplicaSettings(_Strict):
    """The user_config of a deployment with networks.

    Attributes:
        max_batch_size: maximum number of photographs in a batch.
        batch_wait_timeout_s: how long a batch waits for further photographs, in seconds.
        packages: as in Choice; None leaves the choice to what was built.
        router: as in Choice.
        objects: as in Choice.
    """

    max_batch_size: int | None = Field(None, gt=0)
    batch_wait_timeout_s: float | None = Field(None, ge=0)
    packages: tuple[str, ...] | None = Field(None, strict=False)
    router: Annotated[RouterConfig | None, _router] = None
    objects: Annotated[ObjectConfig | None, _objects] = None

    @property
    def choice(self) -> Choice | None:
        """The packages to serve; None if the settings name none."""
        if self.packages is None:
            return None
        return Choice(packages=self.packages, router=self.router, objects=self.objects)
