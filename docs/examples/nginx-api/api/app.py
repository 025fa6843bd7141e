"""Notes in memory, opened by a user name and a password."""

import os

from flask import Flask, Response, abort, jsonify, request

app = Flask(__name__)
notes = ["Water the plants"]


@app.before_request
def authenticate() -> None:
    given = request.authorization
    if request.path == "/health":
        return
    expected = {"username": "demo", "password": os.environ["API_PASSWORD"]}
    if given is None or given.parameters != expected:
        abort(Response("Sign in.", 401, {"WWW-Authenticate": "Basic"}))


@app.get("/health")
def health() -> Response:
    return jsonify(status="ok")


@app.get("/notes")
def list_notes() -> Response:
    return jsonify(notes)


@app.post("/notes")
def add_note() -> Response:
    notes.append(request.get_json()["text"])
    return jsonify(notes)
