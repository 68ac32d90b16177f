"""`/health`: can this box take work."""

from flask import Blueprint, Flask, Response, jsonify

from ezstems.jobs import current_desk

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    """Add the route."""
    app.register_blueprint(blueprint)


@blueprint.get("/health")
def health() -> Response:
    """Describe the box; 503 when it can't take work."""
    state = current_desk().health()
    response = jsonify(state)
    response.status_code = 200 if state["status"] == "ok" else 503
    return response
