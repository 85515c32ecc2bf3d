-- exposure: the first exposure of a visitor to an experiment, what it was and where it stands in the log
select variant_id, first_exposed_at, position, epoch, multiple
from visitor_exposure
where project_id = %(project_id)s and visitor_id = %(unit_id)s and experiment_id = %(experiment_id)s;

-- variants: every variant that a visitor of several has seen, each with the first exposure to it
select variant_id, exposed_at, position
from variant_exposure
where project_id = %(project_id)s and visitor_id = %(unit_id)s and experiment_id = %(experiment_id)s
order by exposed_at, variant_id;

-- events: a unit's events that touch an experiment: those that a goal of it may count, and those misnamed
(
    select position, occurred_at, event_type, event_name, variant_id, experiment_id is not null, null
    from goal_event e
    where project_id = %(project_id)s and unit_id = %(unit_id)s and position >= %(first_position)s
      and (experiment_id is null or experiment_id = %(experiment_id)s)
      and exists (
          select from planned_goal g
          where g.project_id = %(project_id)s and g.experiment_id = %(experiment_id)s
            and g.event_type = e.event_type and (g.event_name is null or g.event_name = e.event_name)
      )
    order by position
    limit %(events_max)s
)
union all
(
    select position, occurred_at, event_type, event_name, null, true, reason
    from misnamed_event
    where project_id = %(project_id)s and unit_id = %(unit_id)s and experiment_id = %(experiment_id)s
      and position >= %(first_position)s
    order by position
    limit %(events_max)s
)
order by position
limit %(events_max)s;

-- received: when the events at some positions were received
select wanted.position, b.received_at
from unnest(%(positions)s::bigint[]) wanted (position)
cross join lateral (
    select received_at from log_batch
    where project_id = %(project_id)s and first_position <= wanted.position
    order by first_position desc
    limit 1
) b;

-- event_at: the event at a position, if the log and not an archive holds it
select position, received_at, occurred_at, event_id, source::text, event_type, event_name, visitor_id,
       experiment_id, variant_id
from event_log
where project_id = %(project_id)s and position = %(position)s and received_at = %(received_at)s;

-- event_between: an event by its id in a range of positions
select position
from event_log
where project_id = %(project_id)s and position > %(after)s and position <= %(until)s
  and received_at >= %(received_from)s and received_at <= %(received_until)s
  and event_id = %(event_id)s;

-- id_of_key: the event that an idempotency key stands for
select event_id from idempotency_key where project_id = %(project_id)s and key_hash = %(key_hash)s;

-- is_known: whether an event id is in the ledger
select exists (select from event_ledger where project_id = %(project_id)s and event_id = %(event_id)s);
