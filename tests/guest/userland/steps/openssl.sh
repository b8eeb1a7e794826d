# Digests and ciphers of a file that is there on both sides; signatures with new keys
file=/usr/bin/perl
for digest in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 blake2b512 ripemd160; do
  openssl dgst -$digest -provider default -provider legacy $file
done
for cipher in aes-128-cbc aes-256-ctr aes-256-ecb camellia-256-cbc aria-128-cbc chacha20 des-ede3-cbc; do
  echo "$cipher $(openssl enc -$cipher -K 00112233445566778899aabbccddeeff0123456789abcdef -iv 0123456789abcdeffedcba9876543210 -in $file 2>/dev/null | sha256sum)"
  openssl enc -$cipher -pbkdf2 -pass pass:skerry -in $file | openssl enc -d -$cipher -pbkdf2 -pass pass:skerry | cmp - $file && echo $cipher there and back
done
folder=$(mktemp -d) && cd "$folder" || exit
for key in "RSA -pkeyopt rsa_keygen_bits:2048" "EC -pkeyopt ec_paramgen_curve:P-256" "EC -pkeyopt ec_paramgen_curve:secp521r1"; do
  # shellcheck disable=SC2086  # words
  openssl genpkey -algorithm $key -out key 2>/dev/null
  openssl pkey -in key -pubout -out public
  openssl dgst -sha256 -sign key -out signature $file
  openssl dgst -sha256 -verify public -signature signature $file
done
openssl genpkey -algorithm ed25519 -out key
openssl pkey -in key -pubout -out public
head -c 1000 $file >part
openssl pkeyutl -sign -inkey key -rawin -in part -out signature
openssl pkeyutl -verify -pubin -inkey public -rawin -in part -sigfile signature
rm -r "$folder"
