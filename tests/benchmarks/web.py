"""The centre's web process on the benchmarks' site: `web.py KAFKA DATABASE_URL TOPIC_PREFIX PORT`."""

import sys

from deploy.web import serve_web, web_app
from tests.benchmarks.workload import site

if __name__ == "__main__":
    kafka, database_url, prefix, port = sys.argv[1:]
    serve_web(web_app(kafka, database_url, site, prefix), host="127.0.0.1", port=int(port), log_level="WARNING")
