import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Makes clients: each line of the input has a client and properties between tabs. Prints the line and behind it what Java says, or `taken`. */
public class ClientRefusals {
    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] parts = line.split("\t");
            Properties properties = new Properties();
            properties.put("bootstrap.servers", "127.0.0.1:1");
            for (int i = 1; i < parts.length; i++) {
                String[] pair = parts[i].split("=", 2);
                properties.put(pair[0], pair[1]);
            }
            System.out.println(line + "\t" + attempt(parts[0], properties));
        }
    }

    private static String attempt(String client, Properties properties) {
        try {
            switch (client) {
                case "producer" -> new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer()).close(java.time.Duration.ZERO);
                case "consumer" -> new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer()).close(
                        org.apache.kafka.clients.consumer.CloseOptions.timeout(java.time.Duration.ZERO));
                default -> Admin.create(properties).close(java.time.Duration.ZERO);
            }
            return "taken";
        } catch (Exception failed) {
            Throwable cause = failed;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return cause.getClass().getSimpleName() + ": " + String.valueOf(cause.getMessage()).replace('\n', ' ');
        }
    }
}
