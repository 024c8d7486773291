"""The lock that everything takes which relies on the models' states, or changes them.

It is PostgreSQL's own, and gone with the transaction. Whoever wants to change a state waits for those who rely on them,
and then before those who come later. A statement sees what was committed before it began: so the lock is always a
statement of its own, and the first of its transaction to touch models or images.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_KEY = 720_575_940_380
_HOLD = text(f"SELECT pg_advisory_xact_lock_shared({_KEY})")
_CHANGE = text(f"SELECT pg_advisory_xact_lock({_KEY})")


async def hold_models(session: AsyncSession) -> None:
    """Let no model change its state before this transaction ends; many may hold them so."""
    await session.execute(_HOLD)


async def change_models(session: AsyncSession) -> None:
    """Be the only one who changes, or relies on, the models' states until this transaction ends."""
    await session.execute(_CHANGE)
