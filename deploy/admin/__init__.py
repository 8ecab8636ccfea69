"""The administrator's page: what it shows, and how it changes the site pack."""
