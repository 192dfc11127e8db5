// What Java makes of certificates: for each folder in the one that is given (trust.pem, chain.pem, host), "ok", "path" or "host".
import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Collection;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import sun.security.util.HostnameChecker;

public class Verdicts {
    static Collection<? extends Certificate> read(Path file) throws Exception {
        try (FileInputStream in = new FileInputStream(file.toFile())) {
            return CertificateFactory.getInstance("X.509").generateCertificates(in);
        }
    }

    public static void main(String[] args) throws Exception {
        for (int n = 0; Files.exists(Path.of(args[0], String.valueOf(n))); n++) {
            Path dir = Path.of(args[0], String.valueOf(n));
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            int alias = 0;
            for (Certificate certificate : read(dir.resolve("trust.pem"))) {
                store.setCertificateEntry("a" + alias++, certificate);
            }
            TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
            factory.init(store);
            X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
            X509Certificate[] chain = read(dir.resolve("chain.pem")).toArray(new X509Certificate[0]);
            String verdict = "ok";
            try {
                manager.checkServerTrusted(chain, "ECDHE_ECDSA");
                try {
                    HostnameChecker.getInstance(HostnameChecker.TYPE_TLS).match(Files.readString(dir.resolve("host")), chain[0]);
                } catch (CertificateException e) {
                    verdict = "host";
                }
            } catch (CertificateException e) {
                verdict = "path";
            }
            System.out.println(verdict);
        }
    }
}
