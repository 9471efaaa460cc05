# Triton 2.51.0 with what the decoding model needs: NVIDIA's image has neither Pillow nor a numpy for it.
# Keep this Pillow equal to that of in-process encoders, for equal pixels. Build it from the project's root:
# docker build -f deploy/triton.Dockerfile -t vehicle-reid-triton:24.10 .
FROM nvcr.io/nvidia/tritonserver:24.10-py3
RUN pip install --no-cache-dir 'numpy<2' pillow==12.3.0
# As `serving.launch` sets them: the memory of an ordinary picture is kept for the next, and huge pages are
# asked for.
ENV MALLOC_MMAP_THRESHOLD_=16777216 MALLOC_TRIM_THRESHOLD_=33554432 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
# It asks for a real inference, which notices what the health endpoints do not: a dead worker.
COPY serving/probe.py /opt/vehicle-reid/probe.py
