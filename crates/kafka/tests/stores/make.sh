#!/bin/sh
# Makes the key stores that the tests of TLS read, in the folder $1, with OpenSSL 3 and keytool. Password of stores: `storepass`, of keys that have their own:
# `keypass`. None of the keys is used for anything but tests. The files beside this one were made by it.
set -eu
cd "$1"
days=36500
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj "/CN=Test CA" -days $days -out ca.pem -addext "basicConstraints=critical,CA:TRUE" 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out sec1.key
openssl req -new -key sec1.key -subj "/CN=localhost" -out leaf.csr 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days $days -extfile leaf.ext -out leaf.pem 2>/dev/null
openssl pkcs8 -topk8 -nocrypt -in sec1.key -out plain.key
cat plain.key leaf.pem ca.pem > plain.pem
cat sec1.key leaf.pem ca.pem > sec1.pem
openssl genrsa -traditional -out rsa.key 2048 2>/dev/null
openssl req -x509 -new -key rsa.key -subj "/CN=localhost" -days $days -out rsa-cert.pem 2>/dev/null
cat rsa.key rsa-cert.pem > pkcs1.pem
openssl ec -in sec1.key -aes128 -passout pass:keypass -out old-encrypted.key 2>/dev/null
cat old-encrypted.key leaf.pem > old-encrypted.pem
# Certificates of X.509 version 1: a CA, what it signed, and a CA of version 1 below one of version 3.
openssl req -new -key ca.key -subj "/CN=Old CA" -out old.csr 2>/dev/null
openssl x509 -req -in old.csr -signkey ca.key -days $days -out v1-ca.pem 2>/dev/null
openssl x509 -req -in leaf.csr -CA v1-ca.pem -CAkey ca.key -days $days -out v1-leaf.pem 2>/dev/null
openssl x509 -req -in old.csr -CA ca.pem -CAkey ca.key -days $days -out v1-intermediate.pem 2>/dev/null
# Encrypted PKCS8 keys: what OpenSSL 3 does by itself, what version 1.0 did, and what is older.
openssl pkcs8 -topk8 -in sec1.key -passout pass:keypass -out e.key && cat leaf.pem e.key > pbes2-aes.pem
openssl pkcs8 -topk8 -in sec1.key -passout pass:keypass -v2 des3 -v2prf hmacWithSHA1 -out e.key && cat leaf.pem e.key > pbes2-3des.pem
openssl pkcs8 -topk8 -in sec1.key -passout pass:keypass -v2 aes-192-cbc -v2prf hmacWithSHA512 -out e.key && cat leaf.pem e.key > pbes2-sha512.pem
openssl pkcs8 -topk8 -in sec1.key -passout pass:keypass -v1 PBE-SHA1-3DES -out e.key && cat leaf.pem e.key > pbe-3des.pem
for cipher in PBE-MD5-DES PBE-SHA1-RC2-128 PBE-SHA1-RC2-40 PBE-SHA1-2DES; do
    openssl pkcs8 -topk8 -provider legacy -provider default -in sec1.key -passout pass:keypass -v1 $cipher -out e.key
    cat leaf.pem e.key > "$cipher.pem"
done
# PKCS12 by OpenSSL: today's, that of version 1, with no password, with trust and without Java's mark of it.
all="-in plain.pem -name leaf -passout pass:storepass"
openssl pkcs12 -export $all -out openssl.p12
openssl pkcs12 -export $all -legacy -out openssl-legacy.p12
openssl pkcs12 -export $all -keypbe NONE -certpbe NONE -out openssl-clear.p12
openssl pkcs12 -export $all -macalg sha512 -keypbe aes-128-cbc -certpbe aes-128-cbc -out openssl-sha512.p12
openssl pkcs12 -export -in plain.pem -passout pass: -out openssl-empty-password.p12
openssl pkcs12 -export -in plain.pem -passout pass: -legacy -out openssl-legacy-empty-password.p12
openssl pkcs12 -export -nokeys -in ca.pem -passout pass:storepass -out openssl-unmarked.p12
# By keytool.
keytool -importkeystore -noprompt -srckeystore openssl.p12 -srcstorepass storepass -destkeystore keytool.p12 -deststoretype PKCS12 -deststorepass storepass 2>/dev/null
keytool -J-Dkeystore.pkcs12.legacy -importkeystore -noprompt -srckeystore openssl.p12 -srcstorepass storepass -destkeystore keytool-legacy.p12 \
    -deststoretype PKCS12 -deststorepass storepass 2>/dev/null
keytool -importkeystore -noprompt -srckeystore openssl.p12 -srcstorepass storepass -srcalias leaf -destkeystore key.jks -deststoretype JKS \
    -deststorepass storepass -destkeypass keypass 2>/dev/null
for type in PKCS12 JKS; do
    file=keytool-ec.$(echo $type | sed 's/PKCS12/p12/;s/JKS/jks/')
    for curve in secp256r1 secp384r1; do
        keytool -genkeypair -alias $curve -keyalg EC -groupname $curve -dname CN=localhost -ext SAN=dns:localhost,ip:127.0.0.1 -validity $days \
            -keystore $file -storetype $type -storepass storepass -keypass storepass 2>/dev/null
    done
done
keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.p12 -storetype PKCS12 -storepass storepass 2>/dev/null
keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.jks -storetype JKS -storepass storepass 2>/dev/null
keytool -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -J-Dkeystore.pkcs12.macAlgorithm=NONE -importcert -noprompt -alias ca -file ca.pem \
    -keystore trust-no-password.p12 -storetype PKCS12 -storepass storepass 2>/dev/null
keytool -importcert -noprompt -alias ca -file ca.pem -keystore empty.p12 -storetype PKCS12 -storepass storepass 2>/dev/null
keytool -delete -alias ca -keystore empty.p12 -storepass storepass 2>/dev/null
keytool -genseckey -alias s -keyalg AES -keysize 128 -keystore secret.jceks -storetype JCEKS -storepass storepass -keypass keypass 2>/dev/null
rm -f e.key old.csr leaf.csr leaf.ext rsa.key rsa-cert.pem old-encrypted.key sec1.key
