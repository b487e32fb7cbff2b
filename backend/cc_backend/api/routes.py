"""All routes of the API with their permissions; docs/api.md describes them in this order."""

from cc_backend.api import (
    clusters,
    health,
    job_events,
    job_meta_data,
    job_removal,
    job_tags,
    jobs,
    machine_states,
    node_states,
    write,
)
from cc_backend.auth.permissions import Permission
from cc_backend.http import store_views
from cc_backend.http.routing import DELETE, GET, GET_OR_POST, POST, POST_OR_PATCH, POST_OR_PUT, Route
from cc_backend.httpserver.workers import Lane

ROUTES = (
    Route(POST, "/api/write/", write.respond_to_write, Permission.METRICS_WRITE, Lane.INGEST),
    Route(POST, "/metricstore/write/", write.respond_to_write, Permission.METRICS_WRITE, Lane.INGEST),
    Route(GET_OR_POST, "/api/query/", store_views.query_samples, Permission.METRICS_READ),
    Route(POST, "/api/free/", store_views.free_samples, Permission.METRICS_ADMIN),
    Route(GET, "/api/debug/", store_views.show_inventory, Permission.METRICS_ADMIN),
    Route(GET, "/api/healthcheck/", store_views.check_hosts, Permission.METRICS_READ),
    Route(POST_OR_PUT, "/api/jobs/start_job/", job_events.start_job, Permission.JOBS_WRITE),
    Route(POST_OR_PUT, "/api/jobs/stop_job/", job_events.stop_job, Permission.JOBS_WRITE),
    Route(POST_OR_PUT, "/api/jobs/stop_job/<job_id>/", job_events.stop_job_by_id, Permission.JOBS_WRITE),
    Route(GET, "/api/jobs/", jobs.list_jobs, Permission.JOBS_READ),
    Route(GET, "/userapi/jobs/", jobs.list_jobs, Permission.JOBS_READ_OWN),
    Route(GET, "/api/jobs/<job_id>/", jobs.get_job, Permission.JOBS_READ),
    Route(GET, "/userapi/jobs/<job_id>/", jobs.get_job, Permission.JOBS_READ_OWN),
    Route(POST, "/api/jobs/<job_id>/", jobs.get_job_with_named_metrics, Permission.JOBS_READ),
    Route(POST, "/userapi/jobs/<job_id>/", jobs.get_job_with_named_metrics, Permission.JOBS_READ_OWN),
    Route(GET, "/api/jobs/metrics/<job_id>/", jobs.get_job_metrics, Permission.JOBS_READ),
    Route(GET, "/userapi/jobs/metrics/<job_id>/", jobs.get_job_metrics, Permission.JOBS_READ_OWN),
    Route(GET, "/api/jobs/used_nodes/", jobs.list_used_nodes, Permission.JOBS_READ),
    Route(POST_OR_PATCH, "/api/jobs/tag_job/<job_id>/", job_tags.attach_tags, Permission.JOBS_WRITE),
    Route(DELETE, "/api/jobs/tag_job/<job_id>/", job_tags.detach_tags, Permission.JOBS_WRITE),
    Route(DELETE, "/api/tags/", job_tags.remove_tags, Permission.JOBS_ADMIN),
    Route(POST_OR_PATCH, "/api/jobs/edit_meta/<job_id>/", job_meta_data.edit_meta_data, Permission.JOBS_WRITE),
    Route(POST_OR_PATCH, "/api/jobs/edit_meta/", job_meta_data.edit_meta_data_of_named_job, Permission.JOBS_WRITE),
    Route(DELETE, "/api/jobs/delete_job/<job_id>/", job_removal.remove_job, Permission.JOBS_ADMIN),
    Route(DELETE, "/api/jobs/delete_job/", job_removal.remove_named_job, Permission.JOBS_ADMIN),
    Route(DELETE, "/api/jobs/delete_job_before/<before>/", job_removal.remove_jobs_before, Permission.JOBS_ADMIN),
    Route(GET, "/api/clusters/", clusters.list_clusters, Permission.CLUSTERS_READ),
    Route(POST_OR_PUT, "/api/nodestate/", node_states.store_node_states, Permission.NODES_WRITE),
    Route(POST, "/api/healthcheck/", node_states.store_node_states, Permission.NODES_WRITE),
    Route(POST, "/metricstore/healthcheck/", node_states.store_node_states, Permission.NODES_WRITE),
    Route(GET, "/api/machine_state/<cluster>/<host>/", machine_states.get_machine_state, Permission.NODES_READ),
    Route(
        POST_OR_PUT,
        "/api/machine_state/<cluster>/<host>/",
        machine_states.store_machine_state,
        Permission.NODES_WRITE,
    ),
    Route(GET, "/healthz", health.show_health, Permission.PUBLIC, Lane.MONITORING),
    Route(GET, "/metrics", health.show_metrics, Permission.PUBLIC, Lane.MONITORING),
)
