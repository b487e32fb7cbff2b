"""The backend: takes samples and job events, keeps them, serves the API and the web pages."""
