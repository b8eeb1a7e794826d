# Nothing to compare here: that it ends well, and by its alarms
openssl speed -seconds 1 sha256 sha512 rsa2048 ecdsap256 ecdhx25519 || exit
for cipher in aes-128-cbc aes-256-gcm chacha20-poly1305; do
  openssl speed -seconds 1 -evp $cipher || exit
done
