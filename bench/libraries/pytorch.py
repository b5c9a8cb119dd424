"""PyTorch in a contest: answers the requests of contestant.ts, one JSON line each. Argument: number of threads."""

import json
import re
import sys
import time

try:
    import torch
    import torch.nn.functional as F

    import pytorch_models
    from values import sample, since, uniform
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit()

OPS = {
    "matmul": lambda a, b: a @ b,
    "conv": lambda x, w: F.conv2d(x, w, padding=1),
    "softmax": lambda x: x.softmax(-1),
    "layerNorm": lambda x, scale, shift: F.layer_norm(x, scale.shape, scale, shift),
    "gelu": F.gelu,
    "exp": torch.exp,
    "add": torch.add,
    "sum": lambda x: x.sum(1),
    "maxPool": lambda x: F.max_pool2d(x, 2),
}


def op_job(work):
    f = OPS[work["op"]]
    inputs = [uniform(shape, i + 1, work["scale"]) for i, shape in enumerate(work["shapes"])]

    def values():
        start = time.perf_counter()
        with torch.no_grad():
            output = f(*inputs)
        return {"values": sample(output.flatten()), "first": since(start)}

    def run():
        with torch.no_grad():
            f(*inputs)

    return values, run


JOBS = {"op": op_job, **pytorch_models.JOBS}


def blas_path():
    """The BLAS library in use: matrix products are as fast as it is."""
    with open("/proc/self/maps") as maps:
        found = sorted(set(re.findall(r"/\S*blas\S*", maps.read())))
    return next(iter([path for path in found if "openblas" in path] + found), "built in")


def main():
    torch.set_num_threads(int(sys.argv[1]))
    path = blas_path()
    blas = "OpenBLAS" if "openblas" in path else "reference BLAS" if "/blas/" in path else path
    print(json.dumps({"description": f"PyTorch {torch.__version__} ({blas})"}), flush=True)
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                work = request["prepare"]
                values, run = JOBS[work["kind"]](work)
                answer = values()
            else:
                answer = {"times": []}
                for _ in range(request["run"]):
                    start = time.perf_counter()
                    run()
                    answer["times"].append(since(start))
        except Exception as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
