-- Find where the log ended at a time without sorting batches of the same moment.

create index log_batch_by_time_and_position on log_batch (project_id, received_at, first_position);
drop index log_batch_by_time;
