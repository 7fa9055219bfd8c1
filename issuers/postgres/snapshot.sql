-- One look at the catalogs: all that the wall audit judges, as one JSON document.
-- $1 literal names, $2 prefixes of names (schema.table, unquoted), $3 the owner role of the configuration.
-- PUBLIC stands for the lease: a fresh role is a member of nothing.
WITH RECURSIVE
wanted AS MATERIALIZED (
	SELECT c.oid
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		AND (n.nspname || '.' || c.relname = ANY ($1::text[])
			OR EXISTS (SELECT FROM unnest($2::text[]) AS stem WHERE starts_with(n.nspname || '.' || c.relname, stem)))
),
-- What a change of a wanted table can reach: its children, and by cascades the tables that refer to it.
edge AS (
	SELECT inhparent AS up, inhrelid AS down FROM pg_inherits
	UNION ALL
	SELECT confrelid, conrelid FROM pg_constraint
	WHERE contype = 'f' AND (confupdtype IN ('c', 'n', 'd') OR confdeltype IN ('c', 'n', 'd'))
),
reached AS (
	SELECT oid FROM wanted
	UNION
	SELECT edge.down FROM reached JOIN edge ON edge.up = reached.oid
),
acl AS (
	SELECT c.oid, a.privilege_type AS privilege
	FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.relacl IS NOT NULL AND a.grantee = 0
	UNION
	SELECT t.attrelid, a.privilege_type
	FROM pg_attribute t, aclexplode(t.attacl) a
	WHERE t.attacl IS NOT NULL AND a.grantee = 0 AND NOT t.attisdropped
	EXCEPT
	SELECT i.objoid, a.privilege_type
	FROM pg_init_privs i, aclexplode(i.initprivs) a
	WHERE i.classoid = 'pg_class'::regclass AND a.grantee = 0 AND i.privtype = 'i'
	EXCEPT
	-- information_schema comes with SELECT for PUBLIC, of which pg_init_privs does not know.
	SELECT c.oid, 'SELECT' FROM pg_class c WHERE c.relnamespace = 'information_schema'::regnamespace AND c.oid < 16384
),
suspect AS MATERIALIZED (
	SELECT oid FROM pg_proc WHERE prosecdef
	UNION
	-- Functions of the system that were made without EXECUTE for PUBLIC, and perhaps opened since.
	SELECT i.objoid
	FROM pg_init_privs i
	WHERE i.classoid = 'pg_proc'::regclass AND i.privtype = 'i'
		AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) a WHERE a.grantee = 0)
),
-- Asked of the few suspects, not of all functions: three quarters of the audit's time otherwise.
open AS MATERIALIZED (
	SELECT oid FROM suspect WHERE has_function_privilege('public', oid, 'EXECUTE')
)
SELECT json_build_object(
	'system', (SELECT system_identifier::text FROM pg_control_system()),
	'database_oid', (SELECT oid FROM pg_database WHERE datname = current_database()),
	'database', current_database(),
	'now', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
	'version', current_setting('server_version_num')::int,
	'standby', pg_is_in_recovery(),
	'tls', current_setting('ssl')::bool,
	'admin', (SELECT json_build_object(
			'name', rolname, 'superuser', rolsuper, 'createrole', rolcreaterole, 'bypassrls', rolbypassrls, 'replication', rolreplication,
			'owner_exists', EXISTS (SELECT FROM pg_roles WHERE rolname = $3::text),
			'owner_superuser', coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = $3::text), false),
			'owner_member', coalesce((SELECT pg_has_role(current_user, o.oid, 'USAGE') FROM pg_roles o WHERE o.rolname = $3::text), false),
			'connect', has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION'))
		FROM pg_roles WHERE rolname = current_user),
	'relations', (SELECT coalesce(json_agg(json_build_object(
			'oid', c.oid, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'partition', c.relispartition,
			'owner', pg_get_userbyid(c.relowner), 'wanted', c.oid IN (SELECT oid FROM wanted),
			'invoker', coalesce('security_invoker=true' = ANY (c.reloptions) OR 'security_invoker=on' = ANY (c.reloptions), false),
			'usage', has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION'),
			'grantable', array_remove(ARRAY[
				CASE WHEN has_table_privilege(c.oid, 'SELECT WITH GRANT OPTION') THEN 'SELECT' END,
				CASE WHEN has_table_privilege(c.oid, 'INSERT WITH GRANT OPTION') THEN 'INSERT' END,
				CASE WHEN has_table_privilege(c.oid, 'UPDATE WITH GRANT OPTION') THEN 'UPDATE' END,
				CASE WHEN has_table_privilege(c.oid, 'DELETE WITH GRANT OPTION') THEN 'DELETE' END,
				CASE WHEN has_table_privilege(c.oid, 'TRUNCATE WITH GRANT OPTION') THEN 'TRUNCATE' END], NULL))
			ORDER BY n.nspname, c.relname), '[]')
		FROM reached r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace),
	'sequences', (SELECT coalesce(json_agg(DISTINCT jsonb_build_object(
			'table', d.refobjid, 'schema', n.nspname, 'name', s.relname,
			'usage', has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION'), 'grantable', has_sequence_privilege(s.oid, 'USAGE WITH GRANT OPTION'))), '[]')
		FROM wanted w
			JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = w.oid AND d.refobjsubid > 0
				AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
			JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
			JOIN pg_namespace n ON n.oid = s.relnamespace),
	'inherits', (SELECT coalesce(json_agg(json_build_object('parent', i.inhparent, 'child', i.inhrelid)), '[]')
		FROM pg_inherits i JOIN reached r ON r.oid = i.inhparent),
	'references', (SELECT coalesce(json_agg(json_build_object(
			'to', k.confrelid, 'from', k.conrelid, 'update', k.confupdtype, 'delete', k.confdeltype,
			'top', top.conrelid, 'name', top.conname, 'schema', n.nspname, 'table', c.relname, 'definition', pg_get_constraintdef(top.oid))), '[]')
		FROM pg_constraint k JOIN reached r ON r.oid = k.confrelid
			-- A partition has a copy of its table's constraint; the one at the top is what a person knows.
			CROSS JOIN LATERAL (
				WITH RECURSIVE up AS (
					SELECT k.oid, k.conparentid
					UNION ALL
					SELECT p.oid, p.conparentid FROM up JOIN pg_constraint p ON p.oid = up.conparentid
				)
				SELECT t.oid, t.conname, t.conrelid FROM up JOIN pg_constraint t ON t.oid = up.oid WHERE up.conparentid = 0
			) AS top
			JOIN pg_class c ON c.oid = top.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE k.contype = 'f' AND (k.confupdtype IN ('c', 'n', 'd') OR k.confdeltype IN ('c', 'n', 'd'))),
	'triggers', (SELECT coalesce(json_agg(json_build_object(
			'table', t.tgrelid, 'name', t.tgname, 'events', t.tgtype, 'definer', p.prosecdef,
			'function', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)))), '[]')
		FROM pg_trigger t JOIN reached r ON r.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'),
	'rules', (SELECT coalesce(json_agg(json_build_object('table', w.ev_class, 'name', w.rulename, 'event', w.ev_type)), '[]')
		FROM pg_rewrite w JOIN reached r ON r.oid = w.ev_class
		WHERE w.ev_type <> '1' AND w.ev_enabled <> 'D'),
	'databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]')
		FROM pg_database
		WHERE datallowconn AND datname <> current_database() AND has_database_privilege('public', oid, 'CONNECT')),
	'database_create', has_database_privilege('public', current_database(), 'CREATE'),
	'database_temp', has_database_privilege('public', current_database(), 'TEMP'),
	'schemas_create', (SELECT coalesce(json_agg(nspname ORDER BY nspname), '[]')
		FROM pg_namespace
		WHERE nspname !~ '^pg_(temp|toast)' AND has_schema_privilege('public', oid, 'CREATE')),
	'functions', (SELECT coalesce(json_agg(json_build_object(
			'name', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), 'schema', n.nspname,
			'usage', has_schema_privilege('public', n.oid, 'USAGE'), 'definer', p.prosecdef,
			-- A default, a constraint, an operator … calls it without naming its schema. Triggers are judged by themselves.
			'used', n.nspname !~ '^pg_temp_' AND EXISTS (SELECT FROM pg_depend d
				WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND d.deptype IN ('n', 'a', 'i')
					AND d.classid NOT IN ('pg_trigger'::regclass, 'pg_event_trigger'::regclass))) ORDER BY n.nspname, p.proname, p.oid), '[]')
		FROM open JOIN pg_proc p ON p.oid = open.oid JOIN pg_namespace n ON n.oid = p.pronamespace),
	'event_triggers', (SELECT coalesce(json_agg(json_build_object('name', e.evtname,
			'function', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))) ORDER BY e.evtname), '[]')
		FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE e.evtenabled <> 'D' AND p.prosecdef),
	'public', (SELECT coalesce(json_agg(json_build_object(
			'oid', c.oid, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'usage', has_schema_privilege('public', n.oid, 'USAGE'),
			'extension', EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
			'privileges', a.privileges) ORDER BY n.nspname, c.relname), '[]')
		FROM (SELECT oid, array_agg(DISTINCT privilege ORDER BY privilege) AS privileges FROM acl GROUP BY oid) a
			JOIN pg_class c ON c.oid = a.oid JOIN pg_namespace n ON n.oid = c.relnamespace),
	'parameters', (SELECT coalesce(json_agg(DISTINCT p.parname), '[]')
		FROM pg_parameter_acl p, aclexplode(p.paracl) a WHERE a.grantee = 0),
	'servers', (SELECT coalesce(json_agg(s.srvname ORDER BY s.srvname), '[]')
		FROM pg_foreign_server s
		WHERE has_server_privilege('public', s.oid, 'USAGE') AND EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvid = s.oid AND m.umuser = 0)),
	'wrappers', (SELECT coalesce(json_agg(fdwname ORDER BY fdwname), '[]')
		FROM pg_foreign_data_wrapper WHERE has_foreign_data_wrapper_privilege('public', oid, 'USAGE')),
	'defaults', (SELECT coalesce(json_agg(DISTINCT pg_get_userbyid(d.defaclrole)), '[]')
		FROM pg_default_acl d, aclexplode(d.defaclacl) a
		-- What a lease opens of its own (see large_objects as well) is no wall of others, and must not stop them.
		WHERE a.grantee = 0 AND d.defaclobjtype IN ('r', 'S', 'n') AND pg_get_userbyid(d.defaclrole) !~ '^hk-[a-z0-9-]+$'),
	'large_objects', current_setting('lo_compat_privileges')::bool
		OR EXISTS (SELECT FROM pg_largeobject_metadata l, aclexplode(l.lomacl) a WHERE l.lomacl IS NOT NULL AND a.grantee = 0
			AND pg_get_userbyid(l.lomowner) !~ '^hk-[a-z0-9-]+$')
)
