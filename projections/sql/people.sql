-- add_user: somebody who can log in; no row when the name is taken
insert into dashboard_user (user_id, name, name_key, password_hash, one_time_until, version, created_at)
values (%(user_id)s, %(name)s, %(name_key)s, %(password_hash)s, %(one_time_until)s, 1, %(created_at)s)
on conflict (name_key) do nothing;

-- user_named: the user with a name, however it is spelled
select user_id, name, password_hash, one_time_until, version
from dashboard_user
where name_key = %(name_key)s;

-- user: one user
select user_id, name, password_hash, one_time_until, version
from dashboard_user
where user_id = %(user_id)s;

-- lock_user: let changes of one user take turns
select from dashboard_user where user_id = %(user_id)s for update;

-- any_user: whether anybody can log in by name
select exists (select from dashboard_user);

-- set_password: another password; every session ends
update dashboard_user
set password_hash = %(password_hash)s, one_time_until = %(one_time_until)s, version = version + 1
where user_id = %(user_id)s;

-- end_user_sessions: every session of a user ends
update dashboard_user set version = version + 1 where user_id = %(user_id)s;

-- remove_user: nobody can log in by this name any more
delete from dashboard_user where user_id = %(user_id)s;

-- add_role: a role in a project; no row when there is one already
insert into user_role (project_id, user_id, role, granted_at)
values (%(project_id)s, %(user_id)s, %(role)s, %(granted_at)s)
on conflict do nothing;

-- change_role: another role in a project
update user_role set role = %(role)s where project_id = %(project_id)s and user_id = %(user_id)s;

-- remove_role: no role in a project any more
delete from user_role where project_id = %(project_id)s and user_id = %(user_id)s;

-- roles: the projects of a user
select project_id, role from user_role where user_id = %(user_id)s order by project_id;

-- users: who has a role in a project, by name
select person.user_id, person.name, granted.role, granted.granted_at, person.one_time_until
from user_role granted
join dashboard_user person on person.user_id = granted.user_id
where granted.project_id = %(project_id)s
order by person.name_key;

-- open_session: somebody has logged in
insert into dashboard_session
    (session_hash, expires_at, admin_key, user_id, user_version, project_id, key_hash)
values
    (%(session_hash)s, %(expires_at)s, %(admin_key)s, %(user_id)s, %(user_version)s, %(project_id)s, %(key_hash)s);

-- session: what a cookie stands for, unless its time is over
select admin_key, user_id, user_version, project_id, key_hash
from dashboard_session
where session_hash = %(session_hash)s and expires_at > %(now)s;

-- close_session: somebody has logged out
delete from dashboard_session where session_hash = %(session_hash)s;

-- forget_sessions: drop those whose time is over
delete from dashboard_session where expires_at <= %(now)s;

-- works: whether a secret key works at a time
select exists (
    select from secret_key
    where project_id = %(project_id)s
      and key_hash = %(key_hash)s
      and (valid_until is null or valid_until > %(now)s)
);

-- add_share_link: an experiment's results can be read with a token
insert into share_link (project_id, token_hash, link_id, experiment_id, made_by, made_at)
values (%(project_id)s, %(token_hash)s, %(link_id)s, %(experiment_id)s, %(made_by)s, %(made_at)s);

-- revoke_share_link: its token is worth nothing any more; no row when it was revoked before
update share_link set revoked_at = %(revoked_at)s
where project_id = %(project_id)s and link_id = %(link_id)s and revoked_at is null
returning experiment_id;

-- share_links: what a project has shared, newest first
select link_id, experiment_id, made_by, made_at, revoked_at
from share_link
where project_id = %(project_id)s
order by made_at desc, link_id;

-- shared: the experiment that a token lets read
select experiment_id
from share_link
where project_id = %(project_id)s and token_hash = %(token_hash)s and revoked_at is null;
