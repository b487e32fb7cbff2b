"""What API, pages and store program share of HTTP: guard, bodies, query strings, responses, problems."""
