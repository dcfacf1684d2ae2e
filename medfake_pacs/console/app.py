"""Put the console together: routers, guards, error pages, static files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from medfake_pacs import __version__
from medfake_pacs.console import failures, guards, openapi
from medfake_pacs.console.guards import BodyLimit, LastResort, OriginCheck, SecurityHeaders
from medfake_pacs.console.input_guard import InputGuard
from medfake_pacs.console.methods import AllowedMethods, Methods
from medfake_pacs.console.services import Services

STATIC = Path(__file__).resolve().parent / "static"
# Each module has a `router`; the order is that of their paths, the more special first.
PAGES = (
    "home",
    "sign_in",
    "single_sign_on",
    "registration",
    "account",
    "accounts",
    "checks",
    "worklist",
    "studies",
    "images",
    "reviews",
    "log",
    "statistics",
    "node",
    "deliveries",
    "rule_tester",
    "notifications",
    "api_reference",
)
API = ("studies", "images", "reviews", "log", "node", "deliveries", "models", "notifications")
OPERATIONS = ("health", "metrics")


def create_app(services: Services) -> FastAPI:
    """Return the application; it closes ``services`` when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        services.close()

    app = FastAPI(
        title="medfake_pacs",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.services = services
    for name in PAGES:
        app.include_router(_router("pages", name), include_in_schema=False)
    for name in API:
        app.include_router(_router("api", name), prefix="/api", tags=[name])
    for name in OPERATIONS:
        app.include_router(_router("operations", name), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    failures.install(app)
    openapi.install(app, services.settings.console.public_url)
    app.state.allowed_methods = allowed = AllowedMethods(app)
    # The last one added sees a request first.
    app.add_middleware(InputGuard)
    console = services.settings.console
    app.add_middleware(LastResort)
    app.add_middleware(OriginCheck, own_url=console.url, only_own_url=console.public_url is not None)
    app.add_middleware(BodyLimit, upload_bytes=console.max_upload_bytes, body_s=guards.BODY_S)
    app.add_middleware(Methods, allowed=allowed)
    app.add_middleware(SecurityHeaders, https=console.is_https)
    return app


def _router(kind: str, name: str) -> APIRouter:
    router = import_module(f"medfake_pacs.console.{kind}.{name}").router
    assert isinstance(router, APIRouter)
    return router
