"""Nets: how they are configured, written as prototxt, trained weights found, images encoded.

pycaffe          Caffe's Python module and its protobuf messages, loaded quietly
net_config       what a net is made from: input, batch, augmentation, tower, head, loss, schedules
configs          the configuration of each net
specs            one net by data set, method, bits, schedule, split and seed; its names and files
towers           architectures: from an image's pixels to 50 q features
data_layers      layers of a net: images and triplets of a batch
code_layers      from images to codes
loss_layers      losses, and what is logged of the codes
prototxt         a spec as Caffe's NetParameter and SolverParameter, and as files
training_log     curves from the log of `caffe train`
model_files      Caffe's files of weights
weights          which trained weights there are of a net
initial_weights  weights with which both sub-networks start alike
averaging        weights averaged over snapshots
torch_weights    PyTorch's files of weights, read without trusting them
efficientnet     EfficientNet-Lite0's weights for Caffe
model_zoo        networks of Caffe's Model Zoo
pretrained       these networks by their names
net_info         which net encoded an index
encoder          images to codes with a trained net
fusion           a net that encodes, with fewer passes over memory
caffe_encoder    the encoder by Caffe
onnx_export      a trained net as an ONNX model
onnx_encoder     the encoder by onnxruntime
runtimes         which of the two runs a net, and the net of an index
"""
