-- add_project: a project exists; no row when its id is taken
insert into project (project_id, name, allowed_origins, privacy_key, created_at)
values (%(project_id)s, %(name)s, %(allowed_origins)s, %(privacy_key)s, %(created_at)s)
on conflict do nothing;

-- project: one project
select project_id, name, allowed_origins, privacy_key
from project
where project_id = %(project_id)s;

-- projects: all projects
select project_id, name, allowed_origins, privacy_key
from project
order by created_at, project_id;

-- lock_project: let rotations of one project take turns
select from project where project_id = %(project_id)s for update;

-- add_key: a secret key works from now on
insert into secret_key (project_id, key_hash, hint, issued_at)
values (%(project_id)s, %(key_hash)s, %(hint)s, %(issued_at)s);

-- expire_keys: every key so far works until a time, unless it ends before
update secret_key set valid_until = least(valid_until, %(valid_until)s::timestamptz)
where project_id = %(project_id)s;

-- keys: the secret keys of a project
select key_hash, valid_until
from secret_key
where project_id = %(project_id)s;

-- key_list: the secret keys of a project as people know them, newest first
select hint, issued_at, valid_until
from secret_key
where project_id = %(project_id)s
order by issued_at desc, hint;

-- change_origins: other origins are allowed from now on
update project set allowed_origins = %(allowed_origins)s where project_id = %(project_id)s;

-- arrived: those of some projects that an event of a browser or a backend came to; archived months hold some
select project_id
from project p
where project_id = any(%(project_ids)s::uuid[]) and (
    exists (select from archived_range archived where archived.project_id = p.project_id) or (
        -- In order, so that it goes by the key however much of the log is other projects'.
        select position
        from event_log
        where event_log.project_id = p.project_id and source <> 'management'
        order by position
        limit 1
    ) is not null
);

-- experiment: the present state of one experiment
select version, state::text
from experiment
where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- experiments: the present states of a project's experiments, newest change first
select state::text
from experiment
where project_id = %(project_id)s
order by changed_at desc, experiment_id;

-- experiment_counts: how many experiments each project has in each status
select project_id, status, count(*), max(changed_at)
from experiment
group by project_id, status;

-- running_experiments: the experiments that a project shows now
select state::text
from experiment
where project_id = %(project_id)s and status = 'running'
order by experiment_id;

-- add_experiment: a new experiment; no row when its id is taken
insert into experiment (project_id, experiment_id, version, status, changed_at, state)
values (%(project_id)s, %(experiment_id)s, %(version)s, %(status)s, %(changed_at)s, %(state)s)
on conflict do nothing;

-- change_experiment: compare and swap on the version; no row when somebody else was faster
update experiment
set version = %(version)s, status = %(status)s, changed_at = %(changed_at)s, state = %(state)s
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and version = %(expected)s;

-- owner_of_experiment: which project an experiment belongs to
select project_id from experiment where experiment_id = %(experiment_id)s;
