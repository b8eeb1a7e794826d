#include "cli/program.hpp"

int main(int argc, char** argv) { return skerry::cli::run_program(argc, argv); }
