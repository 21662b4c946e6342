-- Runs once, when PostgreSQL's volume is new: the databases and their roles. Tables come from `sagapay prepare` and,
-- for Temporal, from its own schema tool.
--
-- sagapay_owner owns the tables and runs migrations; sagapay_app is what the roles use: it creates nothing, and may
-- do only what the migrations grant it. Passwords come from the environment of the container, never from a file here.

\set ON_ERROR_STOP on
\getenv owner_password SAGAPAY_OWNER_PASSWORD
\getenv app_password SAGAPAY_APP_PASSWORD
\getenv temporal_password TEMPORAL_PASSWORD

CREATE ROLE sagapay_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE sagapay_app LOGIN PASSWORD :'app_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';

CREATE DATABASE sagapay OWNER sagapay_owner;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;

-- Nobody but an owner, and whoever is named, gets in.
REVOKE ALL ON DATABASE sagapay, temporal, temporal_visibility FROM PUBLIC;
GRANT CONNECT ON DATABASE sagapay TO sagapay_app;
