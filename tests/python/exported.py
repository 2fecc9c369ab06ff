"""What tools/export.py writes into the model of the digits' net."""

METADATA = {
    "dataset": "digits",
    "method": "dnnh",
    "schedule": "1000",
    "tower": "",
    "stored_size": 8,
    "weights": "net.caffemodel",
}
