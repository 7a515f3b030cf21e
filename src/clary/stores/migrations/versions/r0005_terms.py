"""Records are found by their tags and by what their documents list under `terms`."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    kind = 'TEXT COLLATE "C"' if postgres else "TEXT"
    op.execute(
        f"CREATE TABLE terms (term {kind} NOT NULL, value {kind} NOT NULL, resource {'BIGINT' if postgres else 'INTEGER'} NOT NULL, "
        f"PRIMARY KEY (term, value, resource)){'' if postgres else ' WITHOUT ROWID'}"
    )
    op.execute("CREATE INDEX terms_of ON terms (resource)")
    if postgres:
        op.execute(
            "INSERT INTO terms SELECT 'Tags.' || (tag ->> 'Key'), left(coalesce(tag ->> 'Value', ''), 512), id FROM resources, "
            "jsonb_array_elements(CASE jsonb_typeof(document::jsonb -> 'tags') WHEN 'array' THEN document::jsonb -> 'tags' "
            "ELSE '[]'::jsonb END) AS tag WHERE tag ->> 'Key' IS NOT NULL ON CONFLICT DO NOTHING"
        )
    else:
        op.execute(
            "INSERT OR IGNORE INTO terms SELECT 'Tags.' || json_extract(tag.value, '$.Key'), "
            "substr(coalesce(json_extract(tag.value, '$.Value'), ''), 1, 512), resources.id FROM resources, "
            "json_each(resources.document, '$.tags') AS tag WHERE tag.type = 'object' AND json_extract(tag.value, '$.Key') IS NOT NULL"
        )
