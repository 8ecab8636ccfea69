-- Makes the role as which Grafana reads. Run it as the owner of the tables, once; running it again does no harm:
--
--   psql "$IOC_DATABASE_URL" -f deploy/grafana/role.sql
--   psql "$IOC_DATABASE_URL" -c '\password ioc_grafana'
--
-- Without a password nobody signs in as it. It reads the views of the schema `grafana`, and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ioc_grafana') THEN
        CREATE ROLE ioc_grafana LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
    END IF;
END
$$;
ALTER ROLE ioc_grafana SET default_transaction_read_only = on;
ALTER ROLE ioc_grafana SET statement_timeout = '30s';
GRANT USAGE ON SCHEMA grafana TO ioc_grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA grafana TO ioc_grafana;
ALTER DEFAULT PRIVILEGES IN SCHEMA grafana GRANT SELECT ON TABLES TO ioc_grafana;
