-- The schema of the first Clary, as its SQLAlchemy wrote it.
CREATE TABLE alembic_version (
	version_num TEXT NOT NULL,
	PRIMARY KEY (version_num)
);
CREATE TABLE resources (
	id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	name TEXT NOT NULL,
	arn TEXT NOT NULL,
	status TEXT NOT NULL,
	created FLOAT NOT NULL,
	modified FLOAT NOT NULL,
	version INTEGER NOT NULL,
	claimed_by TEXT DEFAULT '' NOT NULL,
	claimed_until FLOAT DEFAULT '0' NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT resources_name UNIQUE (kind, account, region, name),
	CONSTRAINT resources_arn UNIQUE (arn)
);
CREATE INDEX resources_by_created ON resources (kind, account, region, created, name, status, modified);
CREATE INDEX resources_by_modified ON resources (kind, account, region, modified, name, status, created);
CREATE INDEX resources_by_name ON resources (kind, account, region, name, status, created, modified);
CREATE INDEX resources_by_status ON resources (kind, account, region, status, name, created, modified);
CREATE INDEX resources_to_claim ON resources (kind, status, claimed_until);
INSERT INTO alembic_version (version_num) VALUES ('0001');
