"""What every request goes through."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api import routers


def all_below(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from all_below(dependency)


def test_nothing_hops_to_a_thread_to_find_out_what_a_request_wants() -> None:
    """Under load, each hop costs a request its place in the queue for Python's lock, some milliseconds."""
    modules = [import_module(f"api.routers.{module.name}") for module in pkgutil.iter_modules(routers.__path__)]
    parts = [part for module in modules for part in vars(module).values() if isinstance(part, APIRouter)]
    routes = [route for part in parts for route in part.routes if isinstance(route, APIRoute)]
    called = [dependant.call for route in routes for dependant in all_below(route.dependant)]
    assert len(called) > 2 * len(routes) > 20
    assert [call for call in called if not inspect.iscoroutinefunction(call)] == []
