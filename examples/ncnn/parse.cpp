// Parses an image with ncnn alone:
//
//     edge-segface export edge-256 --format ncnn -o edge.ncnn.param
//     cmake -S examples/ncnn -B build/ncnn && cmake --build build/ncnn
//     build/ncnn/parse edge.ncnn.param 256 face.ppm classes.pgm
//
// The image is taken as one face, so it should be a square around a head. Class ids are those of `edge-segface info`.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <net.h>

struct Image {
    int width = 0, height = 0;
    std::vector<unsigned char> rgb;
};

static Image read_ppm(const char* path) {
    std::ifstream file(path, std::ios::binary);
    std::string format;
    int largest = 0;
    Image image;
    file >> format >> image.width >> image.height >> largest;
    file.get();
    if (!file || format != "P6" || largest != 255 || image.width < 1 || image.height < 1) return {};
    image.rgb.resize(size_t(3) * image.width * image.height);
    file.read(reinterpret_cast<char*>(image.rgb.data()), std::streamsize(image.rgb.size()));
    return file ? image : Image{};
}

// The class of the largest logit at each pixel, after the planes are enlarged to the size of the image.
static std::vector<unsigned char> classes(const ncnn::Mat& logits, int width, int height) {
    ncnn::Mat enlarged;
    ncnn::resize_bilinear(logits, enlarged, width, height);
    std::vector<unsigned char> ids(size_t(width) * height);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int best = 0;
            for (int id = 1; id < enlarged.c; id++) {
                if (enlarged.channel(id).row(y)[x] > enlarged.channel(best).row(y)[x]) best = id;
            }
            ids[size_t(y) * width + x] = static_cast<unsigned char>(best);
        }
    }
    return ids;
}

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: parse MODEL.ncnn.param SIDE IMAGE.ppm CLASSES.pgm\n");
        return 2;
    }
    const std::string param = argv[1];
    const int side = std::atoi(argv[2]);
    const Image image = read_ppm(argv[3]);
    if (side < 1 || image.rgb.empty()) {
        std::fprintf(stderr, "%s is not a PPM image of 8 bits, or the side is wrong\n", argv[3]);
        return 1;
    }
    ncnn::Net net;
    const std::string weights = param.substr(0, param.rfind('.')) + ".bin";
    if (net.load_param(param.c_str()) || net.load_model(weights.c_str())) {
        std::fprintf(stderr, "%s or %s cannot be loaded\n", param.c_str(), weights.c_str());
        return 1;
    }
    ncnn::Extractor extractor = net.create_extractor();
    extractor.input("in0", ncnn::Mat::from_pixels_resize(image.rgb.data(), ncnn::Mat::PIXEL_RGB, image.width,
                                                         image.height, side, side));
    ncnn::Mat logits;
    if (extractor.extract("out0", logits)) {
        std::fprintf(stderr, "the network cannot be run\n");
        return 1;
    }
    const std::vector<unsigned char> ids = classes(logits, image.width, image.height);
    std::ofstream out(argv[4], std::ios::binary);
    out << "P5\n" << image.width << " " << image.height << "\n255\n";
    out.write(reinterpret_cast<const char*>(ids.data()), std::streamsize(ids.size()));
    return out.flush() ? 0 : 1;
}
