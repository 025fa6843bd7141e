-- Loads the seed of the scenario into the current database, within the caller's transaction.
\getenv launched_at SANDBOX_LAUNCHED_AT
SET LOCAL sandbox.launched_at = :'launched_at';
\getenv scenario SCENARIO
\if :{?scenario} \else \set scenario standard \endif
SET LOCAL sandbox.scenario = :'scenario';
SET LOCAL search_path = public;
SET LOCAL ROLE developer;
\ir seed.sql
SELECT :'scenario' IN ('dunning', 'large') AS has_more \gset
\if :has_more
\ir scenarios.sql
\endif
RESET ROLE;
RESET search_path;
