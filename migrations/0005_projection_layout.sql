-- Which tables a generation has: one of another layout than the program's is derived anew at start.

alter table projection_generation add column layout integer not null default 1;
alter table projection_generation alter column layout drop default;
