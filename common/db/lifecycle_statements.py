"""The SQL of the state machine, see `common.db.lifecycle`: one statement moves many images, and logs each move.

Rows are locked in the order of their ids, so concurrent batches can't deadlock. Each statement that moves images also
writes its rows of `image_events`.
"""

from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql import JSONB

LOG_MOVES = """
logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker, error_code)
    SELECT id, from_status, to_status, attempt, worker, error_code FROM moved
)
SELECT id, from_status, to_status, attempt, error_code, ms FROM moved"""
"""The end of a statement that moves images: writes its rows of `image_events` from its CTE `moved`, answers `Move`s."""

MS_SINCE = "CAST(extract(epoch FROM now() - {}) * 1000 AS float8) AS ms"
"""The milliseconds of a `Move`, from the moment the row was last written."""
_MS = MS_SINCE.format("held.updated_at")
MOVE = 6
"""Columns of a `Move`."""

# Claimed before PostgreSQL was started last: nobody could renew the lease meanwhile. That it ran out tells of no death,
# and costs no try.
OUTAGE = "updated_at < pg_postmaster_start_time()"
"""As a condition on a row that was claimed."""

_ABANDONED = f"status IN ('embedding', 'indexing') AND lease_until < now() AND (tries_left > 0 OR {OUTAGE})"

CLAIM = text(
    f"""
WITH due AS (
    SELECT id, status, updated_at, (status <> 'pending' AND {OUTAGE})::int AS refund,
           CASE WHEN status = 'pending' THEN CAST(extract(epoch FROM now() - next_run_at) AS float8) END AS waited_s
      FROM images
     WHERE id = ANY(CAST(:ids AS uuid[]))
       AND (status = 'pending' AND tries_left > 0 AND next_run_at <= now() OR {_ABANDONED})
     ORDER BY id FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE images
       SET status = 'embedding', attempt = attempt + 1, tries_left = tries_left - 1 + refund, lease_owner = :worker,
           lease_until = now() + CAST(:lease AS interval), model_id = :model_id, updated_at = now()
      FROM due WHERE images.id = due.id
    RETURNING images.id, attempt, tries_left, owner_id, folder_id, sha256, object_key, media_type, byte_size,
              category, tags, attributes, created_at, payload_version, labels, visibility, due.waited_s,
              due.status AS from_status, {MS_SINCE.format("due.updated_at")}
), logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker)
    SELECT id, from_status, 'embedding', attempt, :worker FROM claimed
)
SELECT id, attempt, tries_left, owner_id, folder_id, sha256, object_key, media_type, byte_size,
       category, tags, attributes, created_at, payload_version, labels, visibility, waited_s, from_status, ms,
       'embedding' AS to_status
  FROM claimed"""  # noqa: S608 - constants
).columns(attributes=JSONB, labels=JSONB)


def _fenced(columns: str, from_statuses: str, changes: str, error_code: str = "NULL") -> TextClause:
    """Build a fenced move; `columns` names the arrays that come with each fence, for use in `changes`."""
    arrays = "".join(f", CAST(:{column} AS {kind}[])" for column, kind in map(str.split, columns.splitlines()))
    names = "".join(f", {line.split()[0]}" for line in columns.splitlines())
    held = "".join(f", fence.{line.split()[0]}" for line in columns.splitlines())
    return text(
        f"""
WITH held AS (
    SELECT images.id, images.status, images.updated_at, images.lease_owner{held}
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]){arrays}) AS fence(id, attempt{names})
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status IN ({from_statuses}) AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images SET updated_at = now(), {changes} FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, images.attempt,
              held.lease_owner AS worker, {error_code} AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - built from the constants below alone
    )


ADVANCE = _fenced("", "'embedding'", "status = 'indexing'")

FINISH = text(
    f"""
WITH written AS MATERIALIZED (
    SELECT image_id, model_id
      FROM unnest(CAST(:image_ids AS uuid[]), CAST(:model_ids AS int[])) AS given(image_id, model_id)
      JOIN embedding_models ON embedding_models.id = model_id AND state <> 'retired'
), held AS (
    SELECT images.id, images.status, images.updated_at, images.lease_owner, fence.payload_version,
           images.indexed_at IS NULL AS is_new,
           NOT EXISTS (
               SELECT FROM embedding_models WHERE state = 'active'
                  AND (images.id, embedding_models.id) NOT IN (SELECT image_id, model_id FROM written)
           ) AS served
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:payload_version AS int[]))
           AS fence(id, attempt, payload_version)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status = 'indexing' AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images
       SET updated_at = now(), lease_owner = NULL, lease_until = NULL,
           status = CASE WHEN served THEN 'done' ELSE 'pending' END,
           indexed_at = CASE WHEN served THEN now() ELSE indexed_at END,
           indexed_version = CASE WHEN served THEN held.payload_version ELSE indexed_version END,
           next_run_at = CASE WHEN served THEN next_run_at ELSE now() END,
           tries_left = tries_left + (NOT served)::int
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, images.attempt,
              held.lease_owner AS worker, CASE WHEN NOT served THEN 'model_changed' END AS error_code, served, {_MS},
              CASE WHEN served AND is_new
                   THEN CAST(extract(epoch FROM now() - created_at) AS float8) END AS first_done_s
), outdated AS (
    DELETE FROM indexings USING moved
     WHERE image_id = moved.id AND (image_id, model_id) NOT IN (SELECT image_id, model_id FROM written)
), added AS (
    INSERT INTO indexings (model_id, image_id)
    SELECT model_id, image_id FROM written JOIN moved ON moved.id = image_id
    ON CONFLICT DO NOTHING
), logged AS (
    INSERT INTO image_events (image_id, from_status, to_status, attempt, worker, error_code)
    SELECT id, from_status, to_status, attempt, worker, error_code FROM moved
)
SELECT id, from_status, to_status, attempt, error_code, ms, served, first_done_s,
       ARRAY(SELECT embedding_models.id FROM embedding_models
              WHERE state = 'building'
                AND (moved.id, embedding_models.id) NOT IN (SELECT image_id, model_id FROM written)) AS lacking
  FROM moved"""  # noqa: S608 - constants
)

FAIL = _fenced(
    "code text\nmessage text",
    "'embedding', 'indexing'",
    "status = 'error', lease_owner = NULL, lease_until = NULL, error_code = held.code, error_message = held.message",
    error_code="held.code",
)

RELEASE = _fenced(
    "delay interval\nrefund int\ncode text",
    "'embedding', 'indexing'",
    "status = 'pending', lease_owner = NULL, lease_until = NULL, next_run_at = now() + held.delay, "
    "tries_left = tries_left + held.refund",
    error_code="held.code",
)

RENEW = text(
    """
WITH held AS (
    SELECT images.id FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS fence(id, attempt)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status IN ('embedding', 'indexing') AND images.lease_until > now()
     ORDER BY images.id FOR UPDATE OF images
)
UPDATE images SET lease_until = now() + CAST(:lease AS interval) FROM held WHERE images.id = held.id
RETURNING images.id"""
)

STORED = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at FROM images WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'created'
     ORDER BY id FOR UPDATE
), moved AS (
    UPDATE images SET status = 'pending', next_run_at = now(), updated_at = now() FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              NULL AS worker, NULL AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

REQUEUE = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at FROM images WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'error'
     ORDER BY id FOR UPDATE
), moved AS (
    UPDATE images
       SET status = CASE WHEN sha256 IS NULL THEN 'created' ELSE 'pending' END,
           tries_left = :tries, next_run_at = now(), updated_at = now(), error_code = NULL, error_message = NULL
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              :requeued_by AS worker, NULL AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

REDO = text(
    f"""
WITH held AS (
    SELECT images.id, images.status, images.updated_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS fence(id, attempt)
      JOIN images ON images.id = fence.id AND images.attempt = fence.attempt
     WHERE images.status = 'done'
     ORDER BY images.id FOR UPDATE OF images
), moved AS (
    UPDATE images SET status = 'pending', tries_left = :tries, next_run_at = now(), updated_at = now(),
                      compared_by = least(compared_by, 1)  -- `criteria.AGAIN`
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              :redone_by AS worker, CAST(:code AS text) AS error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

BURY = text(
    f"""
WITH held AS (
    SELECT id, status, updated_at, lease_owner FROM images
     WHERE status IN ('embedding', 'indexing') AND lease_until < now() AND tries_left = 0 AND NOT {OUTAGE}
     ORDER BY id FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE images
       SET status = 'error', lease_owner = NULL, lease_until = NULL, updated_at = now(),
           error_code = 'poison_suspected',
           error_message = 'Workers died while processing this image, on every try it had.'
      FROM held WHERE images.id = held.id
    RETURNING images.id, held.status AS from_status, images.status AS to_status, attempt,
              held.lease_owner AS worker, error_code, {_MS}
), {LOG_MOVES}"""  # noqa: S608 - constants
)

FIND_DUE = text(
    f"""
SELECT id FROM images
 WHERE status = 'pending' AND tries_left > 0 AND next_run_at <= now() - CAST(:overdue AS interval) OR {_ABANDONED}
 ORDER BY next_run_at LIMIT :limit"""  # noqa: S608 - constants
)
