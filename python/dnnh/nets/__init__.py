"""Nets: how they are configured, written as prototxt, trained weights found, images encoded.

pycaffe       Caffe's Python module and its protobuf messages, loaded quietly
towers        architectures: from an image's pixels to 50 q features
configs       how each net is trained: input, sampling, augmentation, loss, schedules
specs         one net by data set, method, bits, schedule, split and seed; its names and files
prototxt      a spec as Caffe's NetParameter and SolverParameter, and as files
weights       which trained weights there are of a net
model_files   Caffe's files of weights
encoder       images to codes with a trained net, by Caffe (caffe_encoder) or onnxruntime (onnx_encoder)
runtimes      which of the two runs a net, and the net of an index
training_log  curves from the log of `caffe train`
"""
