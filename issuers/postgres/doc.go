// Package postgres issues credentials at PostgreSQL 15 and newer: one role per lease, in one database,
// with privileges on the concrete tables of the scope and on the sequences that belong to them.
//
// It owns: the wall audit (is there a way around the grant?), the SQL of a lease and of its end, the
// connections of the admin login. It does not know tasks, approvals or the store. It trusts the server's
// catalogs, and that the DSN leads to the server itself and not to a connection pooler.
//
// # Resources and actions
//
// A resource is schema.table, unquoted, or a literal prefix like public.*, which stands for the ordinary
// and partitioned tables that exist when it is described. Tables born later belong to the next request.
//
//	read    SELECT
//	write   INSERT, UPDATE, and USAGE of the sequences that belong to the tables' columns
//	delete  DELETE, TRUNCATE
//	admin   refused: DDL belongs to the owner of a table, and an owner cannot be limited
//
// The actions are independent: UPDATE … WHERE and RETURNING need read as well, as in PostgreSQL itself.
// A view is never part of a prefix. It can be named for read, where the configuration accepts it, because a
// view reads with its owner's rights; writing by way of a view is refused, because it would change the tables
// beneath with its owner's rights.
//
// # The admin login
//
// It is not a superuser, but CREATEROLE comes close to one on PostgreSQL 15, where it may give itself the
// roles that run programs on the server: guard its DSN accordingly. A superuser makes it, in the target's database (AdminSQL prints this with the real
// names; check --live tests each permission and prints what is missing):
//
//	CREATE ROLE hourkey_admin LOGIN CREATEROLE PASSWORD '…';
//	GRANT orders_owner TO hourkey_admin;
//	GRANT CONNECT ON DATABASE orders TO hourkey_admin WITH GRANT OPTION;
//	GRANT USAGE ON SCHEMA public TO hourkey_admin WITH GRANT OPTION;
//	REVOKE CONNECT, TEMPORARY ON DATABASE orders FROM PUBLIC;
//
// and the last line for every other database of the server. Membership in the owner of the tables lets it
// grant on them and gives the lease's leftovers to the owner at the end. It becomes a member of each lease's role, which is what terminating its sessions and DROP
// OWNED want; PostgreSQL 16 and newer do the same by their finer rules, through ROLE CURRENT_USER.
//
// # How surely a lease ends
//
// VALID UNTIL, by the server's clock, ends logins at the TTL whether or not a broker runs. It does not
// end an open session: Revoke does that, NOLOGIN first, and verifies that no session and no role is left.
//
// # What it cannot hold
//
// UPDATE can blank every row. LOCK TABLE can stop others while the lease lives. Any role may make
// large objects, and temporary tables where PUBLIC may. The wall audit is a snapshot at issue. A description
// says each of these.
package postgres
