"""Who says who somebody is, on one machine? A small OpenID Connect issuer of the centre's own."""
