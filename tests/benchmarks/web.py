"""The centre's web process on a benchmark's site: `web.py KAFKA DATABASE_URL TOPIC_PREFIX PORT [vietnam]`."""

import sys

from deploy.settings import PACKAGED_SITE
from deploy.site import load_site
from deploy.web import serve_web, web_app
from tests.benchmarks import workload

if __name__ == "__main__":
    kafka, database_url, prefix, port, *pack = sys.argv[1:]
    site = load_site(PACKAGED_SITE.parent / pack[0]) if pack else workload.site()
    serve_web(
        web_app(kafka, database_url, lambda: site, prefix), host="127.0.0.1", port=int(port), log_level="WARNING"
    )
