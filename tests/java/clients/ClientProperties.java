import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;

/**
 * Prints what Java's clients can be told and what they refuse. Between tabs: `key`, client, name, type, default, importance; then `values`, type or
 * name, a value that is tried; then `refused`, clients, name, a value, Java's message. Every other value that is tried is taken.
 */
public class ClientProperties {
    public static void main(String[] args) {
        Map<String, ConfigDef> clients = new LinkedHashMap<>();
        clients.put("producer", ProducerConfig.configDef());
        clients.put("consumer", ConsumerConfig.configDef());
        clients.put("admin", AdminClientConfig.configDef());
        Map<String, List<String>> values = values();
        values.forEach((type, of) -> of.forEach(value -> System.out.println(String.join("\t", "values", type, value))));
        Map<String, StringJoiner> refused = new TreeMap<>();
        clients.forEach((client, def) -> new TreeMap<>(def.configKeys()).values().forEach(key -> {
            printKey(client, key);
            List<String> tried = values.getOrDefault(key.name, values.getOrDefault(key.type.name(), List.of()));
            for (String value : tried) {
                String message = refusal(key, value);
                if (message != null) {
                    String line = String.join("\t", key.name, value, message);
                    refused.computeIfAbsent(line, l -> new StringJoiner(",")).add(client);
                }
            }
        }));
        refused.forEach((line, of) -> System.out.println("refused\t" + of + "\t" + line));
    }

    private static void printKey(String client, ConfigDef.ConfigKey key) {
        String value = "(required)";
        if (key.hasDefault()) {
            value = key.defaultValue == null ? "(null)" : ConfigDef.convertToString(key.defaultValue, key.type);
        }
        System.out.println(String.join("\t", "key", client, key.name, key.type.name(), value, key.importance.name()));
    }

    /** What is tried, by type or by name. */
    private static Map<String, List<String>> values() {
        List<String> numbers = List.of("", " ", "x", "-2", "-1", "0", "2", " 2 ", "+2", "1.5", "NaN", "40000", "99999999999", "99999999999999999999");
        Map<String, List<String>> values = new LinkedHashMap<>();
        values.put("BOOLEAN", List.of("", "x", " TRUE ", "yes"));
        values.put("STRING", List.of("", "x", " -1 ", "REBOOTSTRAP", "plaintext", "ssl", "Classic", "BATCH_OPTIMIZED", "info", "rs256"));
        values.put("LIST", List.of("", " ", "x", "a,a", "a,,b", "a , b", ","));
        values.put("INT", numbers);
        values.put("SHORT", numbers);
        values.put("LONG", numbers);
        values.put("DOUBLE", List.of("", " ", "x", "-2", "0", " 2 ", "+2", "0.2", "NaN", "40000"));
        values.put("auto.offset.reset",
                List.of("", "LATEST", "by_duration", "by_duration:PT1S", "by_duration:-PT1S", "by_duration:x", "by_duration:P1DT2H3M4.5S", " none "));
        return values;
    }

    private static String refusal(ConfigDef.ConfigKey key, String value) {
        try {
            new ConfigDef().define(key).parse(Map.of(key.name, value));
            return null;
        } catch (ConfigException refused) {
            return refused.getMessage();
        }
    }
}
