"""Audits of the system, asked for past the lines that tests break, and done by its workers."""

import asyncio

from pydantic import SecretStr

from common.db import operations
from common.db.engine import Database
from common.db.operations import AUDIT, NewOperation
from common.settings import DatabaseSettings
from common.status import OperationStatus
from tests.faults.judged import Judged
from worker.audit.report import Report

_LOOK_S = 0.1
_DONE_WITHIN_S = 120


async def audit(system: Judged, *, fix: bool = False) -> Report:
    """Have everything audited, and return the report."""
    database = Database(DatabaseSettings(url=SecretStr(system.stores.database_url)))
    try:
        async with database.begin() as session:
            operation_id = await operations.start(session, NewOperation(AUDIT, "tests", {"fix": fix}))
        async with asyncio.timeout(_DONE_WITHIN_S):
            while True:
                async with database.begin() as session:
                    operation = await operations.get(session, operation_id)
                if operation.status == OperationStatus.DONE:
                    return Report.model_validate(operation.result)
                assert operation.status != OperationStatus.FAILED, operation.error
                await asyncio.sleep(_LOOK_S)
    finally:
        await database.close()
