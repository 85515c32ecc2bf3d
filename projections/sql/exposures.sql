-- tables: who saw which variant first, and how many they are
-- Ids of visitors are compared byte by byte, here and in the other tables: a locale's rules cost time and mean nothing.
create table visitor_exposure (
    project_id       uuid        not null,
    visitor_id       text collate "C" not null,
    experiment_id    uuid        not null,
    variant_id       uuid        not null,
    first_exposed_at timestamptz not null,
    position         bigint      not null,
    segment          bigint      not null,
    epoch            integer     not null,
    since            integer     not null,
    multiple         boolean     not null,
    primary key (project_id, visitor_id, experiment_id)
);
create table visitor_exposure_past (
    like visitor_exposure,
    until integer not null,
    primary key (project_id, visitor_id, experiment_id, until)
);
-- The variants of those who saw several, each with the first exposure to it.
create table variant_exposure (
    project_id    uuid        not null,
    visitor_id    text collate "C" not null,
    experiment_id uuid        not null,
    variant_id    uuid        not null,
    exposed_at    timestamptz not null,
    position      bigint      not null,
    primary key (project_id, visitor_id, experiment_id, variant_id)
);
-- What visitor_exposure.segment, a hash, stands for: how and whence a visitor came at the first exposure.
create table segment (
    project_id    uuid   not null,
    segment       bigint not null,
    device        text,
    browser       text,
    os            text,
    country       text,
    referrer_host text,
    utm_source    text,
    utm_medium    text,
    utm_campaign  text,
    primary key (project_id, segment)
);
create table variant_tally (
    project_id         uuid    not null,
    experiment_id      uuid    not null,
    variant_id         uuid    not null,
    epoch              integer not null,
    day                date    not null,
    visitors           bigint  not null,
    multiple_exposures bigint  not null,
    since              integer not null,
    primary key (project_id, experiment_id, variant_id, epoch, day)
);
create table variant_tally_past (
    like variant_tally,
    until integer not null,
    primary key (project_id, experiment_id, until, variant_id, epoch, day)
);
create table impression_tally (
    project_id    uuid    not null,
    experiment_id uuid    not null,
    variant_id    uuid    not null,
    day           date    not null,
    impressions   bigint  not null,
    since         integer not null,
    primary key (project_id, experiment_id, variant_id, day)
);
create table impression_tally_past (
    like impression_tally,
    until integer not null,
    primary key (project_id, experiment_id, until, variant_id, day)
);

-- staging: exposures of one step, beside what was known of the same visitors before
create temporary table if not exists staged_exposure (
    visitor_id       text storage plain collate "C" not null,
    experiment_id    uuid        not null,
    variant_id       uuid        not null,
    first_exposed_at timestamptz not null,
    position         bigint      not null,
    segment          bigint      not null,
    epoch            integer     not null,
    multiple         boolean     not null,
    old_variant_id   uuid,
    old_exposed_at   timestamptz,
    old_position     bigint,
    old_epoch        integer,
    old_multiple     boolean
) on commit delete rows;

-- staging_visitors: how the tallies of visitors change
create temporary table if not exists staged_visitors (
    experiment_id      uuid    not null,
    variant_id         uuid    not null,
    epoch              integer not null,
    day                date    not null,
    visitors           bigint  not null,
    multiple_exposures bigint  not null
) on commit delete rows;

-- staging_impressions: how the tallies of impressions change
create temporary table if not exists staged_impressions (
    experiment_id uuid   not null,
    variant_id    uuid   not null,
    day           date   not null,
    impressions   bigint not null
) on commit delete rows;

-- stage: merge the step's impressions with what is known; only what changes is staged, and further variants
insert into staged_exposure
with shown as (
    select unit_id as visitor_id, experiment_id, variant_id, occurred_at, position, segment,
           lead(position) over (
               partition by unit_id, experiment_id order by occurred_at, variant_id, position
           ) is not null as is_repeated
    from staged_event
    where is_impression and is_known and is_identified
),
seen as (
    -- The earliest counts; two at once are told apart by id, so that order of arrival never matters.
    select distinct on (visitor_id, experiment_id)
           visitor_id, experiment_id, variant_id, occurred_at as first_exposed_at, position, segment,
           -- Asked for only where somebody saw the same experiment again.
           case when is_repeated then (visitor_id, experiment_id) in (
               select unit_id, experiment_id
               from (
                   select distinct unit_id, experiment_id, variant_id from staged_event
                   where is_impression and is_known and is_identified
               ) variant
               group by unit_id, experiment_id
               having count(*) > 1
           ) else false end as multiple
    from shown
    order by visitor_id, experiment_id, occurred_at, variant_id, position
),
merged as (
    select s.visitor_id, s.experiment_id,
           known.variant_id as old_variant_id, known.first_exposed_at as old_exposed_at,
           known.position as old_position, known.segment as old_segment,
           known.epoch as old_epoch, known.multiple as old_multiple,
           s.variant_id, s.first_exposed_at, s.position, s.segment,
           known.variant_id is null
               or (s.first_exposed_at, s.variant_id) < (known.first_exposed_at, known.variant_id) as is_first,
           s.multiple or coalesce(known.variant_id <> s.variant_id, false) as several,
           s.multiple or coalesce(known.multiple or known.variant_id <> s.variant_id, false) as multiple
    from seen s
    left join lateral (
        select variant_id, first_exposed_at, position, segment, epoch, multiple from visitor_exposure x
        where x.project_id = %(project_id)s and x.visitor_id = s.visitor_id and x.experiment_id = s.experiment_id
        offset 0
    ) known on true
    offset 0
)
select visitor_id, experiment_id,
       case when is_first then variant_id else old_variant_id end,
       case when is_first then first_exposed_at else old_exposed_at end,
       case when is_first then position else old_position end,
       case when is_first then segment else old_segment end,
       case
           when not is_first then old_epoch
           -- Epochs count from 1 on. Hashed: joined, each exposure was held against every plan of the project.
           when experiment_id in (
               select p.experiment_id from planned_epoch p where p.project_id = %(project_id)s and p.epoch = 2
           ) then coalesce(
               (select max(p.epoch) from planned_epoch p
                where p.project_id = %(project_id)s and p.experiment_id = m.experiment_id
                  and p.started_at <= m.first_exposed_at),
               1)  -- a clock behind ours: before the start is the first epoch
           when experiment_id in (
               select p.experiment_id from planned_epoch p where p.project_id = %(project_id)s and p.epoch = 1
           ) then 1
           else 0
       end,
       multiple, old_variant_id, old_exposed_at, old_position, old_epoch, old_multiple
from merged m
where is_first or several or multiple is distinct from old_multiple;

-- stage_visitors: what the staged exposures change in the tallies of visitors
insert into staged_visitors
select experiment_id, variant_id, epoch, (exposed_at at time zone 'UTC')::date,
       sum(case when multiple then 0 else sign end), sum(case when multiple then sign else 0 end)
from (
    select experiment_id, variant_id, epoch, first_exposed_at as exposed_at, multiple, 1 as sign
    from staged_exposure
    union all
    select experiment_id, old_variant_id, old_epoch, old_exposed_at, old_multiple, -1
    from staged_exposure
    where old_variant_id is not null
) change
group by experiment_id, variant_id, epoch, (exposed_at at time zone 'UTC')::date;

-- keep_visitors: keep for snapshots the tallies that change
insert into variant_tally_past
select t.*, %(snapshot)s
from staged_visitors changed
cross join lateral (
    select * from variant_tally t
    where t.project_id = %(project_id)s and t.experiment_id = changed.experiment_id
      and t.variant_id = changed.variant_id and t.epoch = changed.epoch and t.day = changed.day
      and t.since < %(snapshot)s
    offset 0
) t;

-- tally_visitors: add what changes
insert into variant_tally (
    project_id, experiment_id, variant_id, epoch, day, visitors, multiple_exposures, since
)
select %(project_id)s, experiment_id, variant_id, epoch, day, visitors, multiple_exposures, %(snapshot)s
from staged_visitors
on conflict (project_id, experiment_id, variant_id, epoch, day) do update set
    visitors = variant_tally.visitors + excluded.visitors,
    multiple_exposures = variant_tally.multiple_exposures + excluded.multiple_exposures,
    since = excluded.since;

-- stage_impressions: count the step's impressions
insert into staged_impressions
select experiment_id, variant_id, (occurred_at at time zone 'UTC')::date, count(*)
from staged_event
where is_impression and is_known
group by 1, 2, 3;

-- keep_impressions: keep for snapshots the tallies that change
insert into impression_tally_past
select t.*, %(snapshot)s
from staged_impressions changed
cross join lateral (
    select * from impression_tally t
    where t.project_id = %(project_id)s and t.experiment_id = changed.experiment_id
      and t.variant_id = changed.variant_id and t.day = changed.day
      and t.since < %(snapshot)s
    offset 0
) t;

-- tally_impressions: add what changes
insert into impression_tally (project_id, experiment_id, variant_id, day, impressions, since)
select %(project_id)s, experiment_id, variant_id, day, impressions, %(snapshot)s
from staged_impressions
on conflict (project_id, experiment_id, variant_id, day) do update set
    impressions = impression_tally.impressions + excluded.impressions,
    since = excluded.since;

-- put_variants: remember each variant of those who saw several, also the one that was their only one so far
insert into variant_exposure (project_id, visitor_id, experiment_id, variant_id, exposed_at, position)
select distinct on (visitor_id, experiment_id, variant_id)
       %(project_id)s, visitor_id, experiment_id, variant_id, exposed_at, position
from (
    select e.unit_id as visitor_id, e.experiment_id, e.variant_id, e.occurred_at as exposed_at, e.position
    from staged_exposure s
    join staged_event e
        on e.unit_id = s.visitor_id and e.experiment_id = s.experiment_id
       and e.is_impression and e.is_known
    where s.multiple
    union all
    select visitor_id, experiment_id, old_variant_id, old_exposed_at, old_position
    from staged_exposure
    where multiple and old_variant_id is not null
) seen
order by visitor_id, experiment_id, variant_id, exposed_at, position
on conflict (project_id, visitor_id, experiment_id, variant_id) do update set
    exposed_at = excluded.exposed_at,
    position = excluded.position
where (excluded.exposed_at, excluded.position) < (variant_exposure.exposed_at, variant_exposure.position);

-- put_segments: remember what the step's new segments stand for
insert into segment (
    project_id, segment, device, browser, os, country, referrer_host, utm_source, utm_medium, utm_campaign
)
with new as materialized (
    select segment, position
    from (
        select segment, min(position) as position
        from staged_event
        where is_impression and is_known and is_identified
        group by segment
    ) seen
    -- One by one: joined without statistics, each was compared with all that the project has.
    where (
        select true from segment known where known.project_id = %(project_id)s and known.segment = seen.segment
    ) is null
),
-- By place in an array: joined, each of many new ones was looked for among all of them.
placed as (select array_agg(segment order by position) as segments from new)
select %(project_id)s, placed.segments[e.place], e.context ->> 'device', e.context ->> 'browser', e.context ->> 'os',
       e.context ->> 'country', nullif(split_part(e.referrer, '/', 3), ''),
       e.utm ->> 'source', e.utm ->> 'medium', e.utm ->> 'campaign'
from placed
cross join (
    select row_number() over (order by position) as place, context, referrer, utm
    from event_log
    where project_id = %(project_id)s and position = any (array(select position from new))
      and received_at >= %(received_from)s and received_at <= %(received_until)s
) e
on conflict do nothing;

-- put_exposures: remember who was exposed to what, for the first time
insert into visitor_exposure (
    project_id, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch, since, multiple
)
select %(project_id)s, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch,
       %(snapshot)s, multiple
from staged_exposure
-- Staged in the order of the key, in which inserts are quick: they are not sorted again.
where old_variant_id is null;

-- keep_exposures: keep for snapshots what an earlier or another exposure changes
insert into visitor_exposure_past
select x.*, %(snapshot)s
from staged_exposure s
cross join lateral (
    select * from visitor_exposure x
    where x.project_id = %(project_id)s and x.visitor_id = s.visitor_id and x.experiment_id = s.experiment_id
      and x.since < %(snapshot)s
    offset 0
) x
where s.old_variant_id is not null;

-- change_exposures: correct what an earlier or another exposure changes
insert into visitor_exposure (
    project_id, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch, since, multiple
)
select %(project_id)s, visitor_id, experiment_id, variant_id, first_exposed_at, position, segment, epoch,
       %(snapshot)s, multiple
from staged_exposure
where old_variant_id is not null
on conflict (project_id, visitor_id, experiment_id) do update set
    variant_id = excluded.variant_id,
    first_exposed_at = excluded.first_exposed_at,
    position = excluded.position,
    segment = excluded.segment,
    epoch = excluded.epoch,
    since = excluded.since,
    multiple = excluded.multiple;

-- keep_forgotten_exposures: keep for snapshots what is dropped next
insert into visitor_exposure_past
select *, %(snapshot)s from visitor_exposure
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_exposures: drop what was derived for a draft whose plan changed
delete from visitor_exposure where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- forget_variants: likewise
delete from variant_exposure where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- keep_forgotten_visitors: keep for snapshots what is dropped next
insert into variant_tally_past
select *, %(snapshot)s from variant_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_visitors: drop the visitor tallies of a draft whose plan changed
delete from variant_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;

-- keep_forgotten_impressions: keep for snapshots what is dropped next
insert into impression_tally_past
select *, %(snapshot)s from impression_tally
where project_id = %(project_id)s and experiment_id = %(experiment_id)s and since < %(snapshot)s;

-- forget_impressions: drop the impression tallies of a draft whose plan changed
delete from impression_tally where project_id = %(project_id)s and experiment_id = %(experiment_id)s;
