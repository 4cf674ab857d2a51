# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of a server, held against its routes and its answers."""

import glob
import json
import os
import re

from serve_page_test import line_picture
from serve_test import trained
from serving import Server, publish
from support import SOURCE, Skip, run_tests


def routes_in_sources():
    """(method, pattern) of every route that a protocol makes."""
    found = set()
    for path in glob.glob(os.path.join(SOURCE, "src/serve/**/*.cpp"), recursive=True):
        with open(path, encoding="utf-8") as file:
            found |= set(re.findall(r'\{\s*"(GET|POST|PUT|PATCH|DELETE)",\s*"(/[^"]*)"', file.read()))
    assert ("GET", "/metrics") in found and ("POST", "/predict/{model}") in found, found
    return found


def test_every_route_is_documented_and_every_documented_path_answers(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t) as server:
        status, document, headers = server.get("/openapi.json")
        assert status == 200 and document["openapi"].startswith("3.1."), document
        documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        missing = routes_in_sources() - documented
        assert not missing, f"not in /openapi.json: {sorted(missing)}"
        assert ("GET", "/") in documented and ("GET", "/dashboard/app.js") in documented, documented
        ids = set()
        # Models are taken off the ranks last.
        for method, path in sorted(documented, key=lambda route: "unload" in route[1]):
            operation = document["paths"][path][method.lower()]
            assert operation["summary"] and operation["responses"] and operation["operationId"] not in ids, operation
            ids.add(operation["operationId"])
            named = re.findall(r"\{(\w+)\}", path)
            assert [p["name"] for p in operation.get("parameters", [])] == named, operation
            for need in operation["security"]:
                assert set(need) <= set(document["components"]["securitySchemes"]), operation
            values = {"model": "model", "version": "1"}
            real = re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], "x"), path)
            code, answer, _ = server.request(method, real, body="{}" if method != "GET" else None)
            unknown = code == 404 and (not isinstance(answer, dict) or "path" in str(answer.get("error")))
            assert code != 405 and not unknown and (code != 404 or set(named) - set(values)), (method, real, code, answer)
            other = "PUT" if method == "DELETE" else "DELETE"
            assert (other, path) in documented or server.request(other, real)[0] == 405, real
        public = {path for path, methods in document["paths"].items() for o in methods.values() if not o["security"]}
        assert all(p == "/" or p.startswith(("/dashboard/", "/healthz", "/v2/health")) for p in public), public


def schema_check(document):
    """check(schema name, value), and names that were used."""
    try:
        import jsonschema
    except ImportError as error:
        raise Skip("Python's jsonschema is missing") from error
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name in ("Error",) or f'"#/components/schemas/{name}"' in json.dumps(document), f"{name} is used nowhere"
    for name in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in schemas, name
    resolver = jsonschema.RefResolver("", document)

    def check(schema, value):
        errors = list(jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(value))
        assert not errors, f"{schema}: {errors[0].message} at {list(errors[0].absolute_path)} of {json.dumps(value)[:600]}"

    return check


def test_bodies_are_as_the_schemas_of_the_document_say(t):
    kinds = {"lines": "images", "table": "classification", "yes_no": "binary", "price": "regression"}
    for name, kind in kinds.items():
        checkpoint, _ = trained(t, kind, output=name)
        publish(t, checkpoint, name)
    publish(t, checkpoint, "price")
    t.write("models/price/config.json", json.dumps({
        "version_policy": "all", "shadow_version": 2, "aliases": {"stable": {"version": 1, "percent": 100}}}))
    publish(t, checkpoint, "broken")
    with open(t.path("models/broken/1/model.h5"), "r+b") as file:
        file.write(b"damaged")
    keys = t.path("keys.json")
    users = [re.search(r"phx_\w+", t.run("key", "create", "--keys", keys, "--name", access, "--access", access).text).group()
             for access in ("admin", "infer")]
    with Server(t, "--keys", keys) as server:
        admin, infer = ({"Authorization": f"Bearer {key}"} for key in users)
        document = server.get("/openapi.json", headers=admin)[1]
        check = schema_check(document)
        answered, statuses = set(), set()

        def ask(method, pattern, body=None, model="lines", version="1", headers=admin, valid=True):
            path = pattern.replace("{model}", model).replace("{version}", version)
            operation = document["paths"][pattern][method.lower()]
            request = operation.get("requestBody")
            if isinstance(body, (dict, list)):
                schema = request["content"]["application/json"]["schema"]
                if valid:
                    check(schema, body)
                body = json.dumps(body)
            status, answer, found = server.request(method, path, body=body, headers=headers)
            responses = operation["responses"]
            response = responses.get(str(status), responses["2XX" if status < 300 else "default"])
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
            if found.get("Content-Type") == "application/json" and answer != b"":
                check(response["content"]["application/json"]["schema"], answer)
            else:
                assert "application/json" not in response.get("content", {}) or \
                    found["Content-Type"] in response["content"], (path, status, found)
            answered.add((method, pattern))
            statuses.add(status)
            return status, answer

        for model in kinds:
            for pattern in "/predict/{model}", "/v2/models/{model}/infer":
                shown = document["paths"][pattern]["post"]["requestBody"]["content"]["application/json"]["examples"][model]
                for form in pattern, pattern.replace("{model}", "{model}/versions/{version}") if "v2" in pattern \
                        else pattern + "/{version}":
                    status, answer = ask("POST", form, shown["value"], model)
                    assert status == 200, answer
            one = shown["value"]["inputs"][0]
            sample = one["data"]
            assert ask("POST", "/predict/{model}", {"inputs": [sample, sample]}, model)[0] == 200
            more = {"id": "7", "inputs": [one], "outputs": [{"name": "output", "parameters": {"classification": 1}}],
                    "parameters": {"priority": 1, "timeout": 5000000}}
            more["outputs"][0]["name"] = ask("GET", "/v2/models/{model}", model=model)[1]["outputs"][0]["name"]
            assert ask("POST", "/v2/models/{model}/infer", more, model)[0] == 200
            binary = {"inputs": [one], "parameters": {"binary_data_output": True}}
            assert ask("POST", "/v2/models/{model}/infer", binary, model)[0] == 200
        assert ask("POST", "/predict/{model}", line_picture(1))[0] == 200
        for body in {}, {"input": "x"}, {"image": 1}, {"inputs": [one], "outputs": 1}:
            assert ask("POST", "/predict/{model}", body, valid=False)[0] == 400
            assert ask("POST", "/v2/models/{model}/infer", body, valid=False)[0] == 400
        for pattern, methods in document["paths"].items():
            for method in methods:
                if pattern.endswith("load"):
                    continue
                for model in [*kinds, "broken", "nosuch"] if "{model}" in pattern else ["lines"]:
                    for headers in admin, infer, {}:
                        ask(method.upper(), pattern, {} if method == "post" else None, model, headers=headers, valid=False)
        for body in {"ready": True}, {}, None:
            assert ask("POST", "/v2/repository/index", body)[0] == 200
        change = "/v2/repository/models/{model}/"
        for word, model, status in ("load", "lines", 200), ("load", "broken", 400), ("unload", "lines", 200), \
                ("unload", "nosuch", 404):
            assert ask("POST", change + word, {"parameters": {}}, model)[0] == status, (word, model)
        assert ask("GET", "/v2/models/{model}/ready", model="lines")[0] == 404
        routes = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert answered == routes, routes - answered
        assert {200, 400, 401, 403, 404} <= statuses, statuses
        now = server.get("/openapi.json", headers=infer)[1]["paths"]["/predict/{model}"]["post"]["requestBody"]["content"]
        assert set(now["application/json"]["examples"]) == set(kinds) - {"lines"}, now


if __name__ == "__main__":
    run_tests(globals())
