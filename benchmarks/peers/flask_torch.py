# SPDX-License-Identifier: Apache-2.0
"""A model service as tutorials show it: Flask and PyTorch, one image a request as JSON. Debian's python3-flask, python3-torch.

    /usr/bin/python3 benchmarks/peers/flask_torch.py PORT
"""

import sys

import flask
import torch
from torch import nn

app = flask.Flask(__name__)
# The network of configs/cifar10_cnn.cfg; speed does not depend on its weights.
model = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(128 * 8 * 8, 512), nn.ReLU(), nn.Linear(512, 10),
).eval()


@app.route("/predict", methods=["POST"])
def predict():
    image = torch.tensor(flask.request.get_json(force=True)["input"], dtype=torch.float32)
    with torch.no_grad():
        probabilities = torch.softmax(model((image[None] / 255 - 0.5) / 0.25), dim=1)[0]
    return flask.jsonify({"class": int(probabilities.argmax()), "output": probabilities.tolist()})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
