-- A log of version 1 of the schema, as its migration created it.
CREATE SCHEMA "{schema}";
CREATE TABLE "{schema}".eddyline_schema (
    log text PRIMARY KEY,
    version integer NOT NULL,
    migrated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO "{schema}".eddyline_schema (log, version) VALUES ('loans', 1);
CREATE TABLE "{schema}"."loans" (
    sequence_number bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME "{schema}"."loans_sequence"),
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_type text COLLATE "C" NOT NULL,
    payload jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT "loans_pkey" PRIMARY KEY (sequence_number),
    CONSTRAINT "loans_event_id_key" UNIQUE (event_id),
    CONSTRAINT "loans_event_type_check"
        CHECK (octet_length(event_type) BETWEEN 1 AND 255),
    CONSTRAINT "loans_occurred_at_check" CHECK (isfinite(occurred_at)
        AND occurred_at <= '9999-12-30 22:00:00+00'),
    CONSTRAINT "loans_recorded_at_check" CHECK (isfinite(recorded_at)
        AND recorded_at <= '9999-12-30 22:00:00+00'),
    CONSTRAINT "loans_payload_check" CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT "loans_metadata_check" CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX "loans_payload_idx" ON "{schema}"."loans"
    USING gin (payload jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX "loans_event_type_idx" ON "{schema}"."loans" (event_type);
CREATE INDEX "loans_occurred_at_idx" ON "{schema}"."loans"
    USING brin (occurred_at) WITH (autosummarize = on);

CREATE OR REPLACE FUNCTION "{schema}".eddyline_lock_log() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    PERFORM pg_advisory_xact_lock((249372254::bigint << 32) | TG_RELID::bigint);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION "{schema}".eddyline_refuse_number() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    RAISE EXCEPTION 'log %.% numbers its events itself', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'generated_always', HINT = 'Leave out sequence_number.';
END $$;
CREATE OR REPLACE FUNCTION "{schema}".eddyline_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    IF current_setting('eddyline.allow_changes', true) = 'on'
        AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'log %.% takes no %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'Its owner may, after SET eddyline.allow_changes = ''on''.';
END $$;

CREATE TRIGGER "loans_lock_log" BEFORE INSERT ON "{schema}"."loans"
    FOR EACH STATEMENT EXECUTE FUNCTION "{schema}".eddyline_lock_log();
CREATE TRIGGER "loans_refuse_number" BEFORE INSERT ON "{schema}"."loans"
    FOR EACH ROW WHEN
        (NEW.sequence_number IS DISTINCT FROM pg_sequence_last_value('"{schema}"."loans_sequence"'))
    EXECUTE FUNCTION "{schema}".eddyline_refuse_number();
CREATE TRIGGER "loans_refuse_change" BEFORE UPDATE OR DELETE OR TRUNCATE ON "{schema}"."loans"
    FOR EACH STATEMENT EXECUTE FUNCTION "{schema}".eddyline_refuse_change();
